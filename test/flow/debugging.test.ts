import assert from "node:assert/strict";
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { runAgent } from "../../agent/agent.ts";
import { agentOptions } from "../../agent/config.ts";
import { type ConfigOf, type FlagValues, type Options, readConfig } from "../../common/runtime/config.ts";
import { silentLog } from "../../common/runtime/log.ts";
import type { ProgramContext } from "../../common/runtime/process.ts";
import { Dialer } from "../../common/session/client.ts";
import { AdminServiceService, RegistryServiceService } from "../../proto/gen/admin/v1/admin.ts";
import { runServer } from "../../server/server.ts";
import { serverOptions } from "../../server/config.ts";
import { FakeServiceAccounts } from "../fakes/service-accounts.ts";
import { runCommand } from "../harness/command.ts";
import { type TemporaryFolder, temporaryFolder } from "../harness/folder.ts";
import { skipWithout } from "../harness/needs.ts";
import { freePort } from "../harness/ports.ts";
import { eventually } from "../harness/wait.ts";
import { ensureTools } from "../tools/build.ts";

const REPOSITORY = join(import.meta.dirname, "../..");
const TOOLS = ["grpcurl"] as const;

/** A server and the agent of cluster-1 in this process, in sync, with the guide's VirtualMesh in force. */
interface World extends AsyncDisposable {
  readonly folder: TemporaryFolder;
  /** host:port by the name of the block that speaks to it. */
  readonly addresses: Readonly<Record<"server" | "operator" | "istiod" | "agent", string>>;
}

const local = async (): Promise<string> => `localhost:${await freePort()}`;

/** A program in this process. */
interface Running extends AsyncDisposable {
  /** Rejects with what ended it: a wait for it need not go on. */
  readonly failed: Promise<never>;
}

/** Runs a program until it is disposed. */
function start<O extends Options>(
  program: (config: ConfigOf<O>, context: ProgramContext) => Promise<void>,
  options: O,
  flags: FlagValues,
): Running {
  const stop = new AbortController();
  const running = program(readConfig(options, { flags, env: {} }), { log: silentLog, signal: stop.signal });
  const failed = running.then(() => Promise.reject(new Error(`${program.name} ended`)));
  failed.catch(() => undefined);
  return {
    failed,
    async [Symbol.asyncDispose]() {
      stop.abort();
      // `failed` has told why.
      await running.catch(() => undefined);
    },
  };
}

async function startWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  await cp(join(REPOSITORY, "examples"), folder.file("source"), { recursive: true });
  const [relay, enrollment, server, istiod, agent] = [
    await local(),
    await local(),
    await local(),
    await local(),
    await local(),
  ];
  const monitorListen = "127.0.0.1:0";
  const stateDir = folder.file("server");
  const listeners = { relayListen: relay, enrollmentListen: enrollment, adminListen: server, monitorListen };
  const sourceDir = folder.file("source");
  const management = stack.use(start(runServer, serverOptions, { sourceDir, stateDir, ...listeners }));
  const trustPin = await Promise.race([register(folder), management.failed]);
  const accounts = await FakeServiceAccounts.create();
  await writeFile(folder.file("jwks.json"), JSON.stringify(await accounts.jwks()));
  await writeFile(folder.file("token"), await accounts.sign({ audience: "enterprise-agent" }), { mode: 0o600 });
  const workload = stack.use(
    start(runAgent, agentOptions, {
      ...{ cluster: "cluster-1", serverAddress: relay, enrollmentAddress: enrollment, trustPin },
      ...{ tokenFile: folder.file("join-token"), stateDir: folder.file("agent") },
      ...{ istiodListen: istiod, debugListen: agent, monitorListen },
      ...{ tokenJwksFile: folder.file("jwks.json"), tokenIssuer: accounts.issuer },
    }),
  );
  await Promise.race([untilInSync(folder), management.failed, workload.failed]);
  const moved = stack.move();
  return {
    folder,
    addresses: { server, operator: relay, istiod, agent },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

function adminSocket(folder: TemporaryFolder): Dialer & Disposable {
  const address = `unix:${folder.file("server", "admin.sock")}`;
  const dialer = new Dialer({ address, peer: "server" });
  return Object.assign(dialer, { [Symbol.dispose]: () => dialer.close() });
}

const call = () => ({ signal: AbortSignal.timeout(60_000), timeoutMs: 5_000 });

async function register(folder: TemporaryFolder): Promise<string> {
  using dialer = adminSocket(folder);
  const request = { cluster: "cluster-1", tokenTtlSeconds: 0, renewToken: false };
  const { token, trustPin } = await eventually("server ready", () =>
    dialer.unary(RegistryServiceService.registerCluster, request, call()),
  );
  await writeFile(folder.file("join-token"), token, { mode: 0o600 });
  return trustPin;
}

async function untilInSync(folder: TemporaryFolder): Promise<void> {
  using dialer = adminSocket(folder);
  await eventually("agent in sync", async () => {
    const { resources } = await dialer.unary(AdminServiceService.getIntent, { cluster: "cluster-1" }, call());
    return resources.length > 0 && resources.every(({ acknowledged }) => acknowledged);
  });
}

interface Recipe {
  /** The word after `sh` of its block. */
  readonly block: string;
  readonly command: string;
}

/** The commands of docs/debugging.md, one a line. */
async function readRecipes(): Promise<Recipe[]> {
  const text = await readFile(join(REPOSITORY, "docs/debugging.md"), "utf8");
  return [...text.matchAll(/^```sh (\S+)\n([^]*?)^```$/gm)].flatMap(([, block = "", body = ""]) =>
    body
      .trimEnd()
      .split("\n")
      .map((command) => ({ block, command })),
  );
}

/** The command with the places of this run. */
function placed({ block, command }: Recipe, { folder, addresses }: World): string {
  const listener = block.replace("-stream", "") as keyof World["addresses"];
  const placeholders: readonly (readonly [string, string])[] = [
    ["AGENT_STATE_DIR", folder.file("agent")],
    ["STATE_DIR", folder.file("server")],
    ["TOKEN_FILE", folder.file("token")],
    ["npx meshctl", `${process.execPath} ${join(REPOSITORY, "cli/main.ts")}`],
    ["npx buf", join(REPOSITORY, "node_modules/.bin/buf")],
  ];
  const withPlaces = placeholders.reduce((text, [name, value]) => text.replaceAll(name, value), command);
  return withPlaces.replace(/(?:localhost|127\.0\.0\.1):(?:9900|9977|11100)/g, addresses[listener]);
}

/** What a recipe must show at least, by the last words of its command. */
const SHOWS: readonly (readonly [RegExp, RegExp])[] = [
  [/ListSessions$/, /"cluster": ?"cluster-1"[^]*"connected": ?true/],
  [/GetIntent$/, /"csrPath": ?"pki_int\/intermediate\/generate\/exported"/],
  [/GetOrder$/, /"server": ?"http:\/\/vault\.vault:8200"/],
  [/Health\/Check$/, /"status": ?"SERVING"/],
  [/ListReplicas$/, /istiod-istio-system-cluster-1/],
  [/GetServers$/, /"callsStarted"/],
  [/WatchStatus$/, /"observedGeneration"/],
  [/list$|--list-methods/, /(AdminService|IstiodService)/],
  [
    /relay explain/,
    /cluster-1\.gloo-mesh: stored\n +why +VirtualMesh virtual-mesh\.gloo-mesh, generation 1, asks for it/,
  ],
  [/relay diff/, /^cluster cluster-1 holds what it shall$/m],
  [/relay sessions/, /^cluster-1 +ENROLLED +yes/m],
];

test("debugging - every recipe of docs/debugging.md works as printed", { skip: skipWithout(TOOLS) }, async () => {
  const { grpcurl } = await ensureTools(TOOLS);
  await using world = await startWorld();
  const { folder } = world;
  const cwd = folder.file("shell");
  await mkdir(cwd);
  await symlink(join(REPOSITORY, "node_modules"), join(cwd, "node_modules"));
  const path = `${grpcurl.slice(0, -"/grpcurl".length)}:${process.env["PATH"] ?? ""}`;
  const recipes = (await readRecipes()).filter(({ block }) => block !== "no-test");
  const ran = new Set(recipes.map(({ block }) => block));
  assert.deepEqual([...ran].sort(), ["agent", "istiod", "operator", "server", "server-stream"]);
  for (const recipe of recipes) {
    // A stream ends by its deadline, which grpcurl calls a failure.
    const script = placed(recipe, world) + (recipe.block.endsWith("-stream") ? " || true" : "");
    const stdout = await runCommand("sh", ["-c", script], { cwd, env: { PATH: path } });
    const [, expected = /\S/] = SHOWS.find(([ending]) => ending.test(recipe.command)) ?? [];
    assert.match(stdout, expected, recipe.command);
  }
});
