import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { identityOptions } from "../../agent/identity/options.ts";
import { agentFlags } from "../../cli/cluster.ts";
import { flagOf } from "../../common/runtime/config.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { StateDirectory } from "../../common/runtime/state-directory.ts";
import { type GrpcServer, methodTable, type MethodTable, startGrpcServer } from "../../common/session/server.ts";
import { createCsr } from "../../common/pki/csr.ts";
import { generateKey } from "../../common/pki/keys.ts";
import {
  AdminServiceService,
  ClusterSession,
  GetIntentResponse,
  RegistryServiceService,
  VirtualMeshStatus,
} from "../../proto/gen/admin/v1/admin.ts";
import { CertificateState } from "../../proto/gen/certificates/v1/certificates.ts";
import { adminService, type AdminSources, registryService } from "../../server/admin/services.ts";
import type { ServerIdentity } from "../../server/identity/identity.ts";
import { openLocalIdentity } from "../../server/store/local-identity.ts";
import { adminReadMethods, adminSocketMethods, relayMethods } from "../../server/identity/methods.ts";
import { DEFAULT_SERVER_NAMES } from "../../server/identity/relay-ca.ts";
import { type TemporaryFolder, temporaryFolder } from "../harness/folder.ts";

const MESHCTL = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

const VIRTUAL_MESH = VirtualMeshStatus.create({
  name: { name: "vm", namespace: "gloo-mesh" },
  status: { state: "ACCEPTED", conditions: [{ type: "Ready", status: "False", message: "waiting" }] },
  clusters: [
    {
      cluster: "cluster-1",
      mesh: { name: "istiod-istio-system-cluster-1", namespace: "gloo-mesh" },
      connected: true,
      applied: true,
      certificate: {
        replicas: [
          {
            podName: "istiod-1",
            podNamespace: "istio-system",
            state: CertificateState.CERTIFICATE_STATE_FAILED,
            serial: "aa:bb",
            rootSha256: Buffer.alloc(32, 0xab),
            error: { code: "vault_denied", message: "role gen-int-ca-istio refused", hint: "" },
          },
        ],
      },
    },
  ],
});

const SOURCES: AdminSources = {
  async *watchStatus() {
    yield { virtualMeshes: [VIRTUAL_MESH], sourceProblems: ["mesh.yaml:3:1: unknown field spec.foo"] };
  },
  listSessions: () => [
    ClusterSession.create({ cluster: "cluster-1", connected: true, agentVersion: "9.9.9", epoch: 4n }),
  ],
  getIntent: (cluster) =>
    cluster === "cluster-1"
      ? GetIntentResponse.create({
          resources: [
            { certificate: { name: { name: "ic", namespace: "gloo-mesh" } }, version: Buffer.alloc(32, 0xcd) },
          ],
        })
      : undefined,
};

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface World extends AsyncDisposable {
  readonly folder: TemporaryFolder;
  readonly identity: ServerIdentity;
  readonly relay: string;
  readonly loopback: string;
  /** Runs meshctl with these arguments; on the admin socket where `server` is not given. */
  meshctl(...args: string[]): Promise<Outcome>;
  meshctlAt(server: readonly string[], ...args: string[]): Promise<Outcome>;
}

async function run(args: readonly string[]): Promise<Outcome> {
  const child = spawn(process.execPath, [MESHCTL, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit") as Promise<[number | null]>,
  ]);
  return { code, stdout, stderr };
}

async function startWorld(): Promise<World> {
  const folder = await temporaryFolder();
  const clock = systemClock;
  const directory = await StateDirectory.open(folder.file("server"), { program: "enterprise-networking" });
  const identity = await openLocalIdentity({ directory, names: DEFAULT_SERVER_NAMES, clock, log: silentLog });
  const { registry, pki } = identity;
  const { ca, certificate } = pki;
  const services = [
    { definition: AdminServiceService, implementation: adminService({ sources: SOURCES, registry, clock }) },
    { definition: RegistryServiceService, implementation: registryService(registry, ca) },
  ];
  const start = (listen: string, table: MethodTable, more = {}): Promise<GrpcServer> =>
    startGrpcServer({ listen, authorize: methodTable(table), services, ...more });
  const socket = await start(`unix:${directory.file("admin.sock")}`, adminSocketMethods);
  const loopback = await start("127.0.0.1:0", adminReadMethods);
  const relay = await start("127.0.0.1:0", relayMethods(registry), { credentials: certificate.relay });
  const meshctlAt = (server: readonly string[], ...args: string[]) => run([...args, ...server]);
  return {
    folder,
    identity,
    relay: relay.address,
    loopback: loopback.address,
    meshctlAt,
    meshctl: (...args) => meshctlAt(["--state-dir", directory.path], ...args),
    async [Symbol.asyncDispose]() {
      await Promise.all([socket, loopback, relay].map((server) => server.close(100)));
      await directory.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function enroll({ registry }: ServerIdentity, token: string): Promise<void> {
  const key = await generateKey({ type: "ec", curve: "P-256" });
  await registry.enroll(token, await createCsr({ key }), "127.0.0.1:1");
}

describe("meshctl", () => {
  test("meshctl - registers a cluster, lists, shows and revokes it", async () => {
    await using world = await startWorld();
    const tokenFile = world.folder.file("cluster-1.token");
    const registered = await world.meshctl("cluster", "register", "cluster-1", "--token-file", tokenFile);
    assert.deepEqual([registered.code, registered.stderr], [0, ""]);
    assert.match(registered.stdout, new RegExp(`--relay-trust-pin=${world.identity.pki.ca.trustPin}`));
    assert.doesNotMatch(registered.stdout, /rjt1\./);
    assert.equal((await stat(tokenFile)).mode & 0o777, 0o600);
    await enroll(world.identity, await readFile(tokenFile, "utf8"));

    const again = await world.meshctl("cluster", "register", "cluster-1");
    assert.equal(again.code, 1);
    assert.match(again.stderr, /^error: .*cluster-1 has an identity already\nhint: use --renew-token/);
    const renewed = await world.meshctl("cluster", "register", "cluster-1", "--renew-token", "--json");
    assert.match((JSON.parse(renewed.stdout) as { token: string }).token, /^rjt1\./);

    const [list, sessions, intent] = await Promise.all([
      world.meshctl("cluster", "list"),
      world.meshctl("relay", "sessions"),
      world.meshctl("intent", "cluster-1"),
    ]);
    assert.match(list.stdout, /^cluster-1 +ENROLLED +yes +\d{4}-/m);
    assert.match(sessions.stdout, /^cluster-1 +ENROLLED +yes +4 .*9\.9\.9/m);
    assert.match(intent.stdout, /^ic\.gloo-mesh +- +none +cdcdcdcdcdcd +no$/m);

    const revoked = await world.meshctl("cluster", "revoke", "cluster-1");
    assert.equal(revoked.stdout, "cluster cluster-1 is revoked; it was not connected\n");
    assert.equal(world.identity.registry.get("cluster-1")?.state, "REVOKED");
  });

  test("meshctl - shows the state of every istiod with its fault", async () => {
    await using world = await startWorld();
    const shown = await world.meshctl("status");
    assert.match(shown.stdout, /^vm\.gloo-mesh +ACCEPTED +False +waiting$/m);
    assert.match(shown.stdout, /LAST GOOD FORM STAYS IN FORCE\nmesh\.yaml:3:1: unknown field spec\.foo$/m);
    assert.match(
      shown.stdout,
      /^cluster-1 .* yes +yes +istiod-1\.istio-system +FAILED +aa:bb +abababababab .*vault_denied: role/m,
    );
    const json = JSON.parse((await world.meshctl("status", "--json")).stdout) as { virtualMeshes: unknown[] };
    assert.equal(json.virtualMeshes.length, 1);
  });

  test("meshctl - an operator's certificate opens the relay port, loopback only reads", async () => {
    await using world = await startWorld();
    const { folder } = world;
    const issued = await world.meshctl("operator", "issue", "alice", "--out-dir", folder.path);
    assert.equal(issued.code, 0, issued.stderr);
    assert.equal((await stat(folder.file("operator.key"))).mode & 0o777, 0o600);
    const certificate = ["--cert", "operator.crt", "--key", "operator.key", "--cacert", "ca.crt"].map((word) =>
      word.startsWith("--") ? word : folder.file(word),
    );
    const overRelay = ["--server", world.relay, ...certificate];
    assert.equal((await world.meshctlAt(overRelay, "cluster", "register", "cluster-1")).code, 0);
    const overLoopback = ["--server", world.loopback];
    assert.match((await world.meshctlAt(overLoopback, "cluster", "list")).stdout, /^cluster-1 +REGISTERED/m);
    const refused = await world.meshctlAt(overLoopback, "cluster", "revoke", "cluster-1");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /is not served here\nhint: changes need the admin socket/);
    const bare = await world.meshctlAt(["--server", world.relay], "cluster", "list");
    assert.match(bare.stderr, /hint: .*port 9900 wants --cert/);
  });

  test("meshctl - says what is wrong with a command line, and its version in the reference's form", async () => {
    const nowhere = await run(["status"]);
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.stderr, /^error: which server\?.*\nhint: give --state-dir/);
    const partial = await run(["status", "--server", "127.0.0.1:1", "--cert", "x"]);
    assert.deepEqual([partial.code, /go together/.test(partial.stderr)], [2, true]);
    const away = await run(["status", "--admin-socket", "/nonexistent.sock"]);
    assert.equal(away.code, 1);
    assert.match(away.stderr, /connect ENOENT \/nonexistent\.sock\nhint: check that enterprise-networking runs here/);
    const { stdout } = await run(["version"]);
    assert.match(stdout, /^\{\n {2}"client": \{\n {4}"version": ".+"\n {2}\},\n {2}"server": null\n\}\n$/);
  });

  test("meshctl - the flags that it prints for the agent are flags of the agent", () => {
    const known = Object.values(identityOptions).map(flagOf);
    const printed = agentFlags({ name: "c", relayServerAddress: "h:1", tokenFile: undefined }, "sha256:0");
    for (const flag of printed) assert.ok(known.includes(flag.split("=")[0] ?? ""), flag);
  });
});
