import assert from "node:assert/strict";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { eventually } from "../harness/wait.ts";
import { FlowMesh, isReady } from "./mesh.ts";
import { launchHere, type Flags, type LogLine, untilLogged } from "./program.ts";

describe("identity faults", () => {
  let mesh: FlowMesh;
  before(async () => {
    mesh = await FlowMesh.startReady();
  });
  after(() => mesh[Symbol.asyncDispose]());

  /** Runs another agent of cluster-1, which must fail; returns its last line. */
  async function failedAgent(name: string, flags: Flags): Promise<LogLine["err"]> {
    const port = "127.0.0.1:0";
    const listeners = { istiodListen: port, debugListen: port, monitorListen: port };
    const home = { stateDir: mesh.folder.file(name), istiodCaFile: mesh.folder.file(`${name}.pem`) };
    const spec = mesh.clusters[0].agentProgram({ ...listeners, ...home, ...flags });
    await using agent = await launchHere(spec, mesh.folder.file(`${name}.log`));
    assert.equal(await agent.exited, 1, name);
    return (await agent.lines()).findLast(({ msg }) => msg === "failed")?.err;
  }

  it("identity faults - a token that is wrong, used or expired: the agent ends and says so, the cluster's own goes on", async () => {
    const expired = await mesh.register("cluster-9", false, 1);
    const { joinToken } = mesh.clusters[0];
    const wrong = joinToken.slice(0, -6) + (joinToken.endsWith("AAAAAA") ? "BBBBBB" : "AAAAAA");
    const expiresAtMs = expired.tokenExpiresAt?.getTime() ?? Infinity;
    await eventually("expired", () => Promise.resolve(Date.now() > expiresAtMs));
    for (const [name, token] of Object.entries({ wrong, used: joinToken, expired: expired.token })) {
      const tokenFile = mesh.folder.file(`${name}-token`);
      await writeFile(tokenFile, token, { mode: 0o600 });
      const cluster = name === "expired" ? "cluster-9" : "cluster-1";
      const err = await failedAgent(name, { tokenFile, cluster });
      assert.equal(err?.code, "unauthenticated", `${name}: ${JSON.stringify(err)}`);
      assert.match(err.message, /token/, name);
      assert.match(err.hint ?? "", /meshctl cluster register/, name);
      assert.ok(!JSON.stringify(err).includes(token));
      assert.equal(await readFile(tokenFile, "utf8"), token, "a token that was refused is left where it is");
    }
    const refusals = (await mesh.server.lines()).filter(({ msg }) => msg === "enrolment refused");
    assert.deepEqual(
      refusals.map(({ level, reason }) => [level, reason]),
      [
        ["warn", "wrong secret"],
        ["warn", "used with another key"],
        ["warn", "expired"],
      ],
    );
    assert.ok(!JSON.stringify(refusals).includes(joinToken));
    assert.ok(await mesh.isInSync("cluster-1"));
    await mesh.status("unharmed", isReady);
  });

  it("identity faults - the identity of another cluster is not used", async () => {
    const home = mesh.folder.file("swapped");
    await mkdir(home, { mode: 0o700 });
    await copyFile(mesh.folder.file("cluster-1", "agent", "owner.json"), join(home, "owner.json"));
    await copyFile(mesh.folder.file("cluster-2", "agent", "identity.json"), join(home, "identity.json"));
    const err = await failedAgent("swapped", {});
    assert.equal(err?.code, "state_corrupt");
    assert.match(err.message, /identity\.json: .*cluster-2.*cluster-1/);
    assert.match(err.hint ?? "", /enrol again with a new token/);
    await mesh.status("unharmed", isReady);
  });

  it("identity faults - a server that lost its authority is not believed, and nothing is dropped until it is back", async () => {
    const before = await Promise.all(mesh.clusters.map(({ pod }) => pod.files()));
    const lines = (await mesh.clusters[0].agent.lines()).length;
    await mesh.server.stop();
    const stranger = await launchHere(mesh.serverProgram({ stateDir: mesh.folder.file("lost") }), "");
    try {
      const told = await untilLogged("told", mesh.clusters[0].agent, (line) => {
        return line.err !== undefined && /certificate|self.signed/i.test(line.err.message);
      });
      assert.match(told.err?.message ?? "", /management server 127\.0\.0\.1:\d+/);
      assert.ok(told.err?.hint, JSON.stringify(told));
      assert.ok((await mesh.clusters[0].agent.lines()).length > lines);
      const held = await mesh.clusters[0].untilListed("held", ({ detached }) => !detached);
      assert.equal(held.replicas.length, 1);
    } finally {
      await stranger.stop();
    }
    assert.deepEqual(await Promise.all(mesh.clusters.map(({ pod }) => pod.files())), before);
    await mesh.startServer();
    await mesh.status("back", (view) => isReady(view) && view.clusters.every(({ connected }) => connected));
    assert.deepEqual(await Promise.all(mesh.clusters.map(({ pod }) => pod.files())), before);
  });
});
