import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { clusterName, makeFleet, readFleet } from "../../bench/fleet.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Dialer } from "../../common/session/client.ts";
import { RelayServiceService } from "../../proto/gen/relay/v1/relay.ts";
import { serverOptions } from "../../server/config.ts";
import { runServer } from "../../server/server.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { eventually } from "../harness/wait.ts";
import { local } from "./cluster.ts";
import { FlowMesh } from "./mesh.ts";
import { launchProcess, programSpec } from "./program.ts";

const AGENTS = 100;

/** A session that is welcomed; resolves to what ends it: that it is asked to leave, if it heeds that, or an error. */
async function session(dialer: Dialer, heeds: boolean): Promise<{ readonly ended: Promise<string> }> {
  const stream = dialer.bidi(RelayServiceService.connect, new AbortController().signal);
  const messages = stream.messages();
  stream.write({
    message: { $case: "hello", value: { agentVersion: "", instanceId: "", capabilities: [], held: [] } },
  });
  assert.equal((await messages.next()).value?.message?.$case, "welcome");
  const read = async (): Promise<string> => {
    try {
      for await (const { message } of messages) if (heeds && message?.$case === "drain") return "drain";
      return "end";
    } catch (error) {
      return MeshError.from(error).code;
    }
  };
  return { ended: read() };
}

test("server away - told to stop with a hundred sessions it asks all to leave, ends by itself, and takes all back", async () => {
  await using folder = await temporaryFolder();
  const place = { stateDir: folder.file("server"), fleetFile: folder.file("fleet.json") };
  await makeFleet(AGENTS, place);
  const { agents, rootsPem } = await readFleet(place.fleetFile);
  await cp(join(import.meta.dirname, "../../examples"), folder.file("source"), { recursive: true });
  const [relayListen, monitorListen] = [await local(), await local()];
  const flags = {
    ...{ sourceDir: folder.file("source"), stateDir: place.stateDir, relayListen, monitorListen },
    ...{ enrollmentListen: await local(), adminListen: await local() },
  };
  const program = { name: "enterprise-networking", main: ["server/main.ts"], run: runServer } as const;
  const start = async () => {
    const running = await launchProcess(programSpec({ ...program, options: serverOptions, flags }), folder.file("log"));
    await eventually("the server is ready", async () => (await fetch(`http://${monitorListen}/readyz`)).ok);
    return running;
  };
  const dialers = agents.map((identity) => {
    const tls = { rootsPem, identity, minVersion: "TLSv1.3" } as const;
    return new Dialer({ address: relayListen, tls, peer: "server" });
  });
  const connectAll = () =>
    Promise.all(
      dialers.map((dialer, number) =>
        eventually(`${clusterName(number)} is welcomed`, () => session(dialer, number > 0)),
      ),
    );
  const first = await start();
  const sessions = await connectAll();
  const stopped = first.stop();
  const ends = await Promise.all(sessions.map(({ ended }) => ended));
  // The first one does not heed it.
  assert.deepEqual([...new Set(ends)], ["unavailable", "drain"]);
  await stopped;
  // 3 for a program that had to be ended by force.
  assert.equal(await first.exited, 0);
  await using second = await start();
  assert.equal((await connectAll()).length, AGENTS);
  for (const dialer of dialers) dialer.close();
  await second.stop();
});

test("server away - neither the health of an agent nor that of a sidecar depends on it", async () => {
  await using mesh = await FlowMesh.startReady();
  await mesh.server.stop();
  const [cluster] = mesh.clusters;
  const monitorOf = ({ flags }: { flags: object }): string => (flags as { monitorListen: string }).monitorListen;
  const monitors = [monitorOf(cluster.agentProgram()), monitorOf(cluster.pod.program("sidecar"))];
  await eventually("the agent knows", async () =>
    (await cluster.agent.lines()).some(({ msg }) => msg === "session lost"),
  );
  for (const path of monitors.flatMap((monitor) => [`${monitor}/livez`, `${monitor}/readyz`])) {
    assert.equal((await fetch(`http://${path}`)).status, 200, path);
  }
  const listed = await cluster.untilListed("still in force", ({ detached }) => !detached);
  assert.equal(listed.replicas[0]?.connected, true);
});
