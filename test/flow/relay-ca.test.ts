import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { after, before, describe, it } from "node:test";
import type { StoredCredentials } from "../../agent/identity/documents.ts";
import { parseCertificates } from "../../common/pki/certificate.ts";
import { Dialer } from "../../common/session/client.ts";
import { RelayServiceService } from "../../proto/gen/relay/v1/relay.ts";
import { pinOf } from "../../server/identity/relay-ca.ts";
import { eventually } from "../harness/wait.ts";
import { runMeshctl } from "./admin-world.ts";
import { FlowMesh, isReady } from "./mesh.ts";
import { untilLogged } from "./program.ts";

interface Shown {
  readonly stage: string;
  readonly roots: readonly { readonly pin: string; readonly signs?: boolean }[];
  readonly lagging?: readonly { readonly cluster: string; readonly connected?: boolean }[];
}

describe("relay ca", { timeout: 240_000 }, () => {
  let mesh: FlowMesh;
  before(async () => {
    mesh = await FlowMesh.startReady();
  });
  after(() => mesh[Symbol.asyncDispose]());

  const meshctl = (...args: string[]) => runMeshctl([...args, "--state-dir", mesh.folder.file("server")]);

  async function shown(...args: string[]): Promise<Shown> {
    const { code, stdout, stderr } = await meshctl(...args, "--json");
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as Shown;
  }

  /** Takes the next step as soon as the server lets it. */
  const rotate = (): Promise<Shown> => eventually("the next step is allowed", () => shown("relay", "rotate-ca"));

  const untilCaughtUp = (): Promise<Shown> =>
    eventually("every agent has caught up", async () => {
      const ca = await shown("relay", "ca");
      return !ca.lagging && ca;
    });

  async function identityOf(cluster: string): Promise<StoredCredentials> {
    const text = await readFile(mesh.folder.file(cluster, "agent", "identity.json"), "utf8");
    return (JSON.parse(text) as { current: StoredCredentials }).current;
  }

  const pinsOf = (pem: string): string[] => parseCertificates(pem).map(pinOf);

  const istiods = () => Promise.all(mesh.clusters.map(({ pod }) => pod.files()));

  it("relay ca - the root is replaced in three steps under living agents: none is shut out, and no istiod notices", async () => {
    const files = await istiods();
    const old = await identityOf("cluster-1");
    const [oldPin = ""] = pinsOf(old.trustBundlePem);
    const stable = await shown("relay", "ca");
    assert.deepEqual([stable.stage, stable.roots.map(({ pin }) => pin)], ["RELAY_CA_STAGE_STABLE", [oldPin]]);

    const trusting = await rotate();
    assert.equal(trusting.stage, "RELAY_CA_STAGE_TRUSTING");
    const [newPin = ""] = trusting.roots.flatMap(({ pin, signs }) => (signs ? [] : [pin]));
    assert.notEqual(newPin, oldPin);
    const early = await meshctl("relay", "rotate-ca");
    assert.equal(early.code, 1);
    assert.match(early.stderr, /^error: .*the next step would shut out cluster-1, cluster-2\nhint: /);
    await untilCaughtUp();
    assert.deepEqual(pinsOf((await identityOf("cluster-1")).trustBundlePem), [oldPin, newPin]);

    const switched = await rotate();
    assert.equal(switched.stage, "RELAY_CA_STAGE_SWITCHED");
    await untilCaughtUp();
    assert.deepEqual(pinsOf((await identityOf("cluster-2")).trustBundlePem), [newPin, oldPin]);

    assert.equal((await rotate()).stage, "RELAY_CA_STAGE_STABLE");
    const left = await eventually("the agents let go of the old root", async () => {
      const pins = pinsOf((await identityOf("cluster-1")).trustBundlePem);
      return pins.length === 1 && pins;
    });
    assert.deepEqual(left, [newPin]);
    await mesh.status(
      "all are connected",
      (view) => isReady(view) && view.clusters.every(({ connected }) => connected),
    );
    assert.deepEqual(await istiods(), files);

    const { keyPem, certificatePem } = old;
    const address = mesh.serverFlags["relayListen"] ?? "";
    const { trustBundlePem: rootsPem } = await identityOf("cluster-1");
    const tls = { rootsPem, identity: { keyPem, certificatePem }, minVersion: "TLSv1.3" } as const;
    const dialer = new Dialer({ address, tls, peer: "server" });
    const refused = dialer.bidi(RelayServiceService.connect, new AbortController().signal).messages().next();
    await assert.rejects(refused, { code: "unavailable" });
    dialer.close();
  });

  it("relay ca - a rotation that is under way survives a restart, waits for who is away, and is forced over him", async () => {
    const [, away] = mesh.clusters;
    await away.agent.stop();
    assert.equal((await rotate()).stage, "RELAY_CA_STAGE_TRUSTING");
    await mesh.server.stop();
    await mesh.startServer();
    const waiting = await eventually("cluster-1 has caught up", async () => {
      const ca = await shown("relay", "ca");
      return ca.lagging?.length === 1 && ca;
    });
    assert.deepEqual([waiting.stage, waiting.lagging?.[0]?.cluster], ["RELAY_CA_STAGE_TRUSTING", "cluster-2"]);
    assert.match((await meshctl("relay", "rotate-ca")).stderr, /would shut out cluster-2\nhint: .*--force/);
    assert.equal((await shown("relay", "rotate-ca", "--force")).stage, "RELAY_CA_STAGE_SWITCHED");

    const before = await away.pod.files();
    await away.startAgent();
    await untilLogged("it is told", away.agent, ({ err }) => /certificate/i.test(err?.message ?? ""));
    assert.deepEqual(await away.pod.files(), before, "it goes on with what it holds");
    const { token, trustPin } = await mesh.register("cluster-2", true);
    await away.agent.stop();
    await writeFile(mesh.folder.file("cluster-2", "join-token"), token);
    await using agent = await mesh.launch(away.agentProgram({ trustPin }), mesh.folder.file("cluster-2", "agent.log"));
    await untilLogged("it has an identity again", agent, ({ msg }) => msg === "session began");
    await untilCaughtUp();
    assert.equal((await rotate()).stage, "RELAY_CA_STAGE_STABLE");
  });
});
