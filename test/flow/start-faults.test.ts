import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { runCommand } from "../harness/command.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { FlowMesh } from "./mesh.ts";
import { launchHere, launchProcess, type LogLine, type ProgramSpec, toArguments } from "./program.ts";

const REPOSITORY = join(import.meta.dirname, "../..");

/** Runs a program that must fail; returns its last line. */
async function failureOf(spec: ProgramSpec, launch = launchHere): Promise<LogLine> {
  await using folder = await temporaryFolder();
  await using running = await launch(spec, folder.file("log"));
  assert.equal(await running.exited, 1, spec.name);
  return (await running.lines()).findLast(({ msg }) => msg === "failed") ?? assert.fail("no line says failed");
}

/** A mesh that was in force and whose programs are stopped, so that any of them can be started alone. */
describe("start faults", () => {
  let mesh: FlowMesh;
  let taken: { readonly address: string; close(): void };
  before(async () => {
    mesh = await FlowMesh.startReady();
    const { clusters, server } = mesh;
    await Promise.all(clusters.map(({ pod }) => pod.stop()));
    await Promise.all([server, ...clusters.map(({ agent }) => agent)].map((program) => program.stop()));
    const listener = createServer().listen(0, "127.0.0.1");
    await once(listener, "listening");
    const address = listener.address();
    const port = typeof address === "object" ? address?.port : undefined;
    taken = { address: `127.0.0.1:${port}`, close: () => listener.close() };
  });
  after(async () => {
    taken.close();
    await mesh[Symbol.asyncDispose]();
  });

  it("start faults - a port in use is named with a way to find its holder, for each listener of each program", async () => {
    const [one] = mesh.clusters;
    const specs = [
      ...["relayListen", "enrollmentListen", "adminListen", "monitorListen"].map((name) =>
        mesh.serverProgram({ [name]: taken.address }),
      ),
      ...["istiodListen", "debugListen", "monitorListen"].map((name) => one.agentProgram({ [name]: taken.address })),
      one.pod.program("sidecar", { monitorListen: taken.address }),
    ];
    for (const spec of specs) {
      const { err } = await failureOf(spec);
      assert.equal(err?.code, "port_in_use", JSON.stringify(err));
      assert.match(err.message, new RegExp(`cannot listen on ${taken.address}: the address is in use$`));
      assert.match(err.hint ?? "", /^find the program with: ss -ltnp 'sport = :\d+', or choose another address$/);
    }
    const programs = specs.filter((_, index) => [0, 4, 7].includes(index));
    const told = await Promise.all(programs.map((spec) => failureOf(spec, launchProcess)));
    assert.deepEqual(
      told.map(({ err }) => err?.code),
      ["port_in_use", "port_in_use", "port_in_use"],
    );
  });

  it("start faults - a corrupt document of a state directory is named, its content is not shown, nothing is overwritten", async () => {
    const programs: readonly (readonly [string, ProgramSpec])[] = [
      [mesh.serverProgram().flags["stateDir"] as string, mesh.serverProgram()],
      [mesh.folder.file("cluster-1", "agent"), mesh.clusters[0].agentProgram()],
    ];
    for (const [directory, program] of programs) {
      const documents = (await readdir(directory)).filter((name) => name.endsWith(".json"));
      assert.ok(documents.length >= 3, documents.join());
      for (const name of documents) {
        const path = join(directory, name);
        const good = await readFile(path, "utf8");
        for (const bad of ['{"secret-word": ', '{"secret-word": 1}']) {
          await writeFile(path, bad);
          const { err } = await failureOf(program);
          assert.match(err?.code ?? "", /^state_(corrupt|foreign)$/, `${name}: ${JSON.stringify(err)}`);
          assert.ok(err?.message.includes(path), err?.message);
          assert.match(err?.hint ?? "", /restore|move|give/, name);
          assert.doesNotMatch(JSON.stringify(err), /secret-word/);
          assert.equal(await readFile(path, "utf8"), bad);
        }
        await writeFile(path, good);
      }
    }
  });

  it("start faults - the state of another program or cluster is refused and left as it is", async () => {
    const [one, two] = mesh.clusters;
    const ofOne = mesh.folder.file("cluster-1", "agent");
    const before = await snapshot(ofOne);
    const cases: readonly (readonly [ProgramSpec, RegExp])[] = [
      [two.agentProgram({ stateDir: ofOne }), /agent belongs to cluster-1, not cluster-2$/],
      [mesh.serverProgram({ stateDir: ofOne }), /belongs to enterprise-agent, not enterprise-networking$/],
      [one.agentProgram({ stateDir: mesh.folder.file("source") }), /source holds .*\.yaml but no owner\.json$/],
    ];
    for (const [program, message] of cases) {
      const { err } = await failureOf(program);
      assert.equal(err?.code, "state_foreign");
      assert.match(err.message, message);
      assert.match(err.hint ?? "", /--state-dir/);
    }
    assert.deepEqual(await snapshot(ofOne), before);
  });

  it("start faults - every setting that is wrong is reported at once, and --validate starts nothing", async () => {
    await using folder = await temporaryFolder();
    const program = mesh.serverProgram();
    const good = ["server/main.ts", ...toArguments(program.options, program.flags)];
    assert.equal(await node([...good, "--validate"]), "configuration is valid\n");
    await writeFile(folder.file("bad.yaml"), "source:\n  dir: x\n  pollIntervall: 1s\nrelay:\n  listen: nowhere\n");
    const bad = node([
      "server/main.ts",
      "--config",
      folder.file("bad.yaml"),
      "--admin-listen",
      "0.0.0.0:1",
      "--validate",
    ]);
    await assert.rejects(bad, (error: Error) => {
      const text = `${error.message} ${String(error.cause)}`;
      for (const told of [
        /source\.pollIntervall: unknown key \(.*bad\.yaml:3\); did you mean source\.pollInterval\?/,
        /relay\.listen: must be host:port, got "nowhere" \(.*bad\.yaml:5\)/,
        /admin\.listen: must be a loopback address such as .* \(--admin-listen\)/,
        /state\.dir: is required/,
        /hint: run with --help/,
      ]) {
        assert.match(text, told);
      }
      return true;
    });
  });
});

const node = (args: readonly string[]): Promise<string> => runCommand(process.execPath, args, { cwd: REPOSITORY });

async function snapshot(directory: string): Promise<Readonly<Record<string, string>>> {
  const names = (await readdir(directory)).filter((name) => name !== "lock");
  return Object.fromEntries(
    await Promise.all(
      names.map(async (name): Promise<[string, string]> => [name, await readFile(join(directory, name), "utf8")]),
    ),
  );
}
