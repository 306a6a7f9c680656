import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, rm, rmdir, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";
import { FlowMesh, isFailed, isReady, isRenewed, meshOf, replicaOf, withTtlDays } from "./mesh.ts";
import { launchMounted, untilLogged } from "./program.ts";

const cannotMount = await promisify(execFile)("unshare", ["-rm", "true"]).then(
  () => false,
  () => "this user may not mount file systems",
);

test("cacerts faults - missing or no directory: reported up to the VirtualMesh, and mended without a restart", async () => {
  await using mesh = await FlowMesh.start();
  const [one, two] = mesh.clusters;
  await mesh.apply();
  await two.pod.start();
  await rmdir(one.pod.directory);
  const init = await one.pod.startInit();
  const missing = await mesh.status("missing", isFailed("cluster-1", "install_failed"));
  assert.match(
    meshOf(missing, "cluster-1").errors?.join() ?? "",
    /install_failed: directory .*cacerts does not exist \(mount an emptyDir with medium Memory there, in istiod and in the istiod-agent\)/,
  );
  assert.equal(meshOf(missing, "cluster-2").state, "ACCEPTED");
  const { err } = await untilLogged("said", init, ({ msg }) => /cannot be used; trying again/.test(msg));
  assert.equal(err?.code, "install_failed");

  await writeFile(one.pod.directory, "");
  await mesh.status("a file", (view) => /is not a directory/.test(meshOf(view, "cluster-1").errors?.join() ?? ""));
  await rm(one.pod.directory);
  await mkdir(one.pod.directory, { mode: 0o700 });
  assert.equal(await init.exited, 0);
  await one.pod.ca();
  await one.pod.startSidecar();
  await mesh.untilReady();
});

test("cacerts faults - read-only and full volumes: reported with what to change", { skip: cannotMount }, async () => {
  await using mesh = await FlowMesh.start();
  const { pod } = mesh.clusters[0];
  await mesh.apply();
  const volumes = [
    ["-o ro", /install_failed: directory .*cacerts is read-only \(mount it without readOnly in the istiod-agent\)/],
    ["-o size=8k", /install_failed: directory .*cacerts is full \(raise sizeLimit of the emptyDir, or remove files/],
  ] as const;
  for (const [flags, told] of volumes) {
    const launch = launchMounted(`mount -t tmpfs ${flags} tmpfs "${pod.directory}"`);
    await using init = await launch(pod.program("init-container"), mesh.folder.file("init.log"));
    await mesh.status("told", (view) => told.test(meshOf(view, "cluster-1").errors?.join() ?? ""));
    await init.stop();
    assert.notEqual(await init.exited, 0);
  }
  assert.deepEqual(await pod.files(), {});
});

test("cacerts faults - two istiod-agents of one identity or one directory: the second is told, the first goes on", async () => {
  await using mesh = await FlowMesh.startReady();
  const [one] = mesh.clusters;
  const old = await one.pod.ca();
  const elsewhere = mesh.folder.file("elsewhere");
  await mkdir(elsewhere, { mode: 0o700 });
  const twin = await one.pod.startSidecar({ cacertsDir: elsewhere, monitorListen: "127.0.0.1:0" });
  const refused = await untilLogged("one identity", twin, ({ err }) => err?.code === "conflict");
  assert.match(refused.err?.message ?? "", /pod istiod-7d9f-abcde \([0-9a-f-]+\) is linked already/);
  assert.match(refused.err?.hint ?? "", /two istiod-agents use one identity/);

  const neighbour = await one.addPod("istiod-7d9f-fghij");
  const second = await neighbour.startSidecar({ cacertsDir: one.pod.directory });
  assert.equal(await second.exited, 1);
  const last = (await second.lines()).findLast(({ msg }) => msg === "failed");
  assert.equal(last?.err?.code, "conflict");
  assert.match(last.err.message, /directory .*cacerts is in use by process \d+/);

  await mesh.apply(withTtlDays(20));
  const view = await mesh.status("the first goes on", (each) => isReady(each) && isRenewed("cluster-1", old)(each));
  assert.equal(replicaOf(view, "cluster-1")?.serial, (await one.pod.ca()).facts.serial);
});
