import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "../runtime/config.ts";
import { homeFaults, isKubernetesMode, kubeconfigOf, kubernetesOptions, replicaNameOf } from "./settings.ts";

const read = (flags: object, env: Readonly<Record<string, string>> = {}) =>
  readConfig(kubernetesOptions, { flags: { ...flags }, env });

test("kube settings - namespace and replica come from the pod's own variables, flags outrank them", () => {
  const pod = { POD_NAME: "enterprise-agent-7d9", POD_NAMESPACE: "mesh-system" };
  const inPod = read({ kubernetesInCluster: true }, pod);
  assert.deepEqual([inPod.kubernetesNamespace, replicaNameOf(inPod)], ["mesh-system", "enterprise-agent-7d9"]);
  assert.equal(read({ kubernetesNamespace: "other" }, pod).kubernetesNamespace, "other");
  assert.equal(read({}).kubernetesNamespace, "gloo-mesh");
});

test("kube settings - a replica without a name takes the host's, fit for an object's name", () => {
  assert.equal(replicaNameOf(read({}), "Host_A.example."), "host-a.example");
  assert.equal(replicaNameOf(read({}), "___"), "replica");
  assert.throws(() => read({ replicaName: "Upper" }), /replica\.name: must be lower-case/);
});

test("kube settings - exactly one home is chosen, and all of them are named where it is not", () => {
  const faults = (flags: object, directory: boolean) => homeFaults(read(flags), { "source.dir": directory });
  assert.deepEqual(faults({}, true), []);
  assert.deepEqual(faults({ kubernetesKubeconfig: "f" }, false), []);
  const message = "source.dir, kubernetes.inCluster and kubernetes.kubeconfig: exactly one is needed, got";
  assert.deepEqual(faults({}, false), [`${message} 0`]);
  assert.deepEqual(faults({ kubernetesKubeconfig: "f", kubernetesInCluster: true }, true), [`${message} 3`]);
});

test("kube settings - the pod's own cluster is asked without a kubeconfig", () => {
  const inCluster = read({ kubernetesInCluster: true });
  const elsewhere = read({ kubernetesKubeconfig: "f" });
  assert.deepEqual([kubeconfigOf(inCluster), kubeconfigOf(elsewhere)], [undefined, "f"]);
  assert.deepEqual([inCluster, elsewhere, read({})].map(isKubernetesMode), [true, true, false]);
});
