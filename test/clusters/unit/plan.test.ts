import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { hierarchiesOf } from "../cgroups.ts";
import { plainOperator } from "../istio.ts";
import { missingForClusters, skipWithoutClusters } from "../needs.ts";
import { INSIDE, planFleet, routesOf } from "../plan.ts";
import { argumentsOf, configurationOf, FILES, kubeconfigOf, PROGRAMS } from "../programs.ts";

test("plan - no two clusters of any fleets share an address, a link or a folder, and names fit the kernel", () => {
  const fleets = Array.from({ length: 20 }, (_, slot) => planFleet(`f${slot}`, slot, 4, "/state"));
  const nodes = fleets.flatMap(({ clusters }) => clusters);
  for (const key of ["link", "cgroup", "directory", "nodeAddress"] as const) {
    assert.equal(new Set(nodes.map((node) => node[key])).size, 80, key);
  }
  // Interfaces have 15 characters at most.
  for (const name of [...nodes.map(({ link }) => link), ...fleets.map(({ bridge }) => bridge)]) {
    assert.ok(name.length <= 15, name);
  }
});

test("plan - a cluster's own ranges lie apart from each other and from all nodes", () => {
  const prefixes = planFleet("f", 19, 4, "/state").clusters.flatMap(({ podRange, serviceRange, nodeAddress }) =>
    [podRange, serviceRange, nodeAddress].map((range) => range.split(".").slice(0, 3).join(".")),
  );
  assert.equal(new Set(prefixes).size, 9);
});

test("plan - routes of the kernel's table are read as addresses", () => {
  const table = "Iface\tDestination\tGateway\nmeshrelay0\t0000C80A\t00000000\neth0\t00000000\t010011AC\n";
  assert.deepEqual(routesOf(table), ["10.200.0.0", "0.0.0.0"]);
});

test("plan - both versions of cgroups are found in the mounts", () => {
  const mounts =
    "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\ntmpfs /run tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
  assert.deepEqual(hierarchiesOf(mounts), [
    { path: "/sys/fs/cgroup/pids", version: 1 },
    { path: "/sys/fs/cgroup", version: 2 },
  ]);
});

test("plan - every file that a program is told of is written, or one of the keys", () => {
  const [plan] = planFleet("f", 0, 1, "/state").clusters;
  assert.ok(plan);
  const written = [...Object.keys(configurationOf(plan)), FILES.kubeconfig, FILES.ca, FILES.tokens];
  const keys = [FILES.signingKey, FILES.signingPublicKey];
  const folders = ["etcd", "certs", "kubelet", "kubelet/pki"].map((name) => `${INSIDE}/${name}`);
  const told = PROGRAMS.flatMap((program) => argumentsOf(program, plan)).filter((word) => word.startsWith(INSIDE));
  assert.deepEqual(
    told.filter((word) => !word.startsWith(`${INSIDE}/logs/`) && ![...written, ...keys, ...folders].includes(word)),
    [],
  );
});

test("plan - a kubeconfig has a context for each cluster under the cluster's name", () => {
  const { clusters } = planFleet("f", 0, 2, "/state");
  const config = kubeconfigOf(clusters.map((plan) => ({ plan, caPem: "ca", token: "t" }))) as {
    contexts: { name: string }[];
    clusters: { cluster: { server: string } }[];
  };
  assert.deepEqual(
    config.contexts.map(({ name }) => name),
    ["cluster-1", "cluster-2"],
  );
  assert.equal(config.clusters[1]?.cluster.server, "https://10.200.0.12:6443");
});

test("plan - plain Istio is the operator file of deploy/istio without our part, its gateway untouched", async () => {
  const text = await readFile(join(import.meta.dirname, "../../../deploy/istio/istio-operator.yaml"), "utf8");
  const { spec: whole } = parse(text) as { spec: { components: Record<string, unknown> } };
  const { spec: plain } = parse(plainOperator(text)) as { spec: { components: Record<string, unknown> } };
  assert.deepEqual(Object.keys(plain.components), ["ingressGateways"]);
  assert.deepEqual(plain.components["ingressGateways"], whole.components["ingressGateways"]);
  assert.ok(!plainOperator(text).includes("gcr.io/gloo-mesh"));
});

test("needs - without Linux or root one line says so, and with CI=true that is a failure", () => {
  assert.equal(missingForClusters({ platform: "darwin", uid: 501 }), "clusters: need Linux, this is darwin");
  const reason = missingForClusters({ platform: "linux", uid: 1000 });
  assert.equal(reason, "clusters: need root, for namespaces and cgroups");
  const { CI } = process.env;
  try {
    delete process.env["CI"];
    assert.equal(skipWithoutClusters({ platform: "linux", uid: 1000 }), reason);
    process.env["CI"] = "true";
    assert.throws(() => skipWithoutClusters({ platform: "linux", uid: 1000 }), /need root.*CI=true forbids to skip/);
  } finally {
    if (CI === undefined) delete process.env["CI"];
    else process.env["CI"] = CI;
  }
});
