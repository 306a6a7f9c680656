import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import { conditionOf, FlowMesh, meshOf, replicaOf, withTtlDays } from "./mesh.ts";
import { untilLogged } from "./program.ts";

test("source faults - a directory that is emptied removes nothing, and says so, also over a restart", async () => {
  await using mesh = await FlowMesh.startReady();
  const [one, two] = mesh.clusters;
  const before = [await one.pod.files(), await two.pod.files(), (await mesh.intent("cluster-1")).wantedDigest];
  const after = async (): Promise<unknown> => [
    await one.pod.files(),
    await two.pod.files(),
    (await mesh.intent("cluster-1")).wantedDigest,
  ];
  await mesh.removeSource("virtual-mesh.yaml");
  const missing = await mesh.status("missing", ({ status }) => status.state === "FAILED");
  assert.match(
    missing.status.errors?.join() ?? "",
    /^the VirtualMesh is missing from its source, generation 1 stays in force \(to release its meshes, write it again with an empty spec\.meshes\)$/,
  );
  assert.equal(conditionOf(missing, "Accepted").reason, "SourceMissing");
  assert.equal(replicaOf(missing, "cluster-1")?.serial, (await one.pod.ca()).facts.serial);

  await mesh.removeSource(...(await readdir(mesh.folder.file("source"))));
  const line = await untilLogged("said", mesh.server, ({ msg }) =>
    /files are gone; what they described stays/.test(msg),
  );
  assert.equal(line.level, "warn");
  await mesh.server.stop();
  await mesh.startServer();
  const again = await mesh.status("linked again", ({ status, clusters }) => {
    return status.state === "FAILED" && clusters.length === 2 && clusters.every(({ connected }) => connected);
  });
  assert.deepEqual(again.status.errors, missing.status.errors);
  assert.deepEqual(await after(), before);

  for (const cluster of ["cluster-1", "cluster-2"]) {
    await mesh.copyExample(`mesh-${cluster}.yaml`, `kubernetes-${cluster}.yaml`);
  }
  await mesh.apply();
  await mesh.untilReady();
  assert.deepEqual(await after(), before);
});

test("source faults - a mesh taken out on purpose: its certificate is Detached and serves on, a restarted pod too", async () => {
  await using mesh = await FlowMesh.startReady();
  const [one, two] = mesh.clusters;
  const [kept, old] = [await two.pod.files(), await one.pod.ca()];
  const withoutTwo = (yaml: string): string => yaml.replace(/ {2}- name: istiod-istio-system-cluster-2\n.*\n?/, "");
  await mesh.apply((yaml) => withTtlDays(20)(withoutTwo(yaml)));
  const view = await mesh.status("one mesh", (each) => {
    const { serial, error } = replicaOf(each, "cluster-1") ?? {};
    return each.clusters.length === 1 && serial !== old.facts.serial && !error;
  });
  assert.deepEqual(Object.keys(view.status.meshes ?? {}), ["istiod-istio-system-cluster-1.gloo-mesh."]);
  assert.equal(meshOf(view, "cluster-1").state, "ACCEPTED");

  const detached = await two.untilListed("detached", (certificate) => certificate.detached);
  assert.equal(detached.replicas[0]?.serial, (await two.pod.ca()).facts.serial);
  assert.deepEqual(await two.pod.files(), kept);

  // A new pod, and an agent that was restarted meanwhile: istiod must always start.
  await two.agent.stop();
  await two.startAgent();
  const pod = await two.addPod("istiod-7d9f-fghij");
  const init = await pod.startInit();
  assert.equal(await init.exited, 0);
  assert.equal((await pod.ca()).facts.rootSha256, (await one.pod.ca()).facts.rootSha256);
});
