import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseResources } from "../../common/api/parse.ts";
import { clusterNamed, meshOf, meshRef, snapshotWith, virtualMeshOf } from "./fixtures.ts";
import { foldLastGood } from "./last-good.ts";
import { snapshotOf } from "./snapshot.ts";
import { validate } from "./validate.ts";
import type { Verdict } from "./verdict.ts";

const KEY = (number: number): string => `istiod-istio-system-cluster-${number}.gloo-mesh.`;

function verdictOf(verdicts: ReadonlyMap<string, Verdict>, name = "vm"): Verdict {
  return verdicts.get(`gloo-mesh/${name}`) ?? assert.fail(`no verdict of ${name}`);
}

const states = ({ meshes }: Verdict): Record<string, string> =>
  Object.fromEntries(Object.entries(meshes).map(([key, { state }]) => [key, state]));

describe("validate", () => {
  it("validate - a sound VirtualMesh is accepted with each of its meshes", () => {
    const verdict = verdictOf(validate(snapshotWith([virtualMeshOf("vm", [1, 2], {}, { generation: 7 })])));
    assert.deepEqual([verdict.state, verdict.errors, verdict.acceptanceOrder], ["ACCEPTED", [], 1]);
    assert.deepEqual(states(verdict), { [KEY(1)]: "ACCEPTED", [KEY(2)]: "ACCEPTED" });
    assert.deepEqual(verdict.accepted, {
      type: "Accepted",
      status: "True",
      observedGeneration: 7,
      reason: "Accepted",
      message: "2 of 2 meshes accepted",
    });
  });

  it("validate - a mesh that does not exist yet leaves the others unharmed", () => {
    const verdict = verdictOf(validate(snapshotWith([virtualMeshOf("vm", [1, 9])])));
    assert.deepEqual(states(verdict), { [KEY(1)]: "ACCEPTED", [KEY(9)]: "PENDING" });
    assert.equal(verdict.state, "ACCEPTED");
    assert.deepEqual(verdict.errors, [
      "spec.meshes[1]: Mesh gloo-mesh/istiod-istio-system-cluster-9 does not exist yet",
    ]);
    assert.deepEqual([verdict.accepted.status, verdict.accepted.reason], ["False", "PartlyAccepted"]);
  });

  it("validate - a reference without its namespace, a mesh without a cluster and an unregistered cluster are told apart", () => {
    const virtualMesh = virtualMeshOf("vm", [], { meshes: [{ name: "m" }, meshRef(1), meshRef(2), meshRef(3)] });
    const verdict = verdictOf(
      validate(
        snapshotWith([virtualMesh], {
          meshes: [meshOf(1, { cluster: undefined }), meshOf(2), meshOf(3)],
          kubernetesClusters: [clusterNamed("cluster-3")],
        }),
      ),
    );
    assert.equal(verdict.state, "INVALID");
    assert.deepEqual(states(verdict), {
      "m..": "INVALID",
      [KEY(1)]: "INVALID",
      [KEY(2)]: "PENDING",
      [KEY(3)]: "ACCEPTED",
    });
    assert.deepEqual(verdict.errors, [
      'spec.meshes[0]: is "/m", name and namespace are both required',
      "spec.meshes[1]: Mesh gloo-mesh/istiod-istio-system-cluster-1 names no cluster, spec.istio.installation.cluster is required",
      "spec.meshes[2]: cluster cluster-2 of Mesh gloo-mesh/istiod-istio-system-cluster-2 is not registered (register it: meshctl cluster register cluster-2)",
    ]);
  });

  it("validate - a mesh that is listed twice counts once, with a warning", () => {
    const verdict = verdictOf(validate(snapshotWith([virtualMeshOf("vm", [1, 1])])));
    assert.equal(verdict.state, "ACCEPTED");
    assert.match(verdict.meshes[KEY(1)]?.warnings[0] ?? "", /^spec\.meshes\[1\]: .* is listed more than once$/);
  });

  it("validate - a mesh in two VirtualMeshes belongs to the older, also when it is the second that they share", () => {
    const old = virtualMeshOf("z-old", [1, 2], {}, { creationTimestamp: "2026-01-01T00:00:00Z" });
    const young = virtualMeshOf("a-young", [3, 2], {}, { creationTimestamp: "2026-02-01T00:00:00Z" });
    const verdicts = validate(snapshotWith([young, old]));
    assert.equal(verdictOf(verdicts, "z-old").state, "ACCEPTED");
    assert.deepEqual(states(verdictOf(verdicts, "a-young")), { [KEY(3)]: "ACCEPTED", [KEY(2)]: "INVALID" });
    assert.deepEqual(verdictOf(verdicts, "a-young").errors, [
      "spec.meshes[1]: Includes a Mesh (istiod-istio-system-cluster-2.gloo-mesh) that already is grouped in a VirtualMesh (z-old.gloo-mesh)",
    ]);
  });

  it("validate - a mesh in force stays with the VirtualMesh that holds it, whatever name or age the other has", () => {
    const first = snapshotWith([virtualMeshOf("b", [1])]);
    const inForce = foldLastGood(new Map(), validate(first));
    const older = virtualMeshOf("a", [1, 2], {}, { creationTimestamp: "2020-01-01T00:00:00Z" });
    const verdicts = validate(snapshotWith([older, virtualMeshOf("b", [1])]), inForce);
    assert.deepEqual(states(verdictOf(verdicts, "a")), { [KEY(1)]: "INVALID", [KEY(2)]: "ACCEPTED" });
    assert.deepEqual([verdictOf(verdicts, "a").acceptanceOrder, verdictOf(verdicts, "b").acceptanceOrder], [2, 1]);
  });

  it("validate - a broken file is the VirtualMesh's own fault, with file, line and reason", () => {
    const text = (caPath: string, more = ""): string => `apiVersion: networking.mesh.gloo.solo.io/v1
kind: VirtualMesh
metadata: { name: vm, namespace: gloo-mesh }
spec:
  meshes: []
  mtlsConfig:
    shared:
      intermediateCertificateAuthority:
        vault:
          caPath: ${caPath}
          server: http://vault.vault:8200
          kubernetesAuth: { role: r }
${more}`;
    const judged = (file: string): Verdict => verdictOf(validate(snapshotOf([parseResources(file, "vm.yaml")])));
    const path = "spec.mtlsConfig.shared.intermediateCertificateAuthority.vault";
    assert.equal(judged(text("pki/root/sign-intermediate")).state, "ACCEPTED");
    assert.deepEqual(judged(text("pki/root")).errors, [
      `vm.yaml:10:11: ${path}.caPath: is "pki/root", must end in /root/sign-intermediate or /issuer/<name>/sign-intermediate`,
    ]);
    const unknown = judged(text("pki/root/sign-intermediate", "  federatoin: {}\n"));
    assert.deepEqual(unknown.errors, ["vm.yaml:13:3: spec.federatoin: unknown field; did you mean federation?"]);
    assert.deepEqual([unknown.state, unknown.accepted.reason], ["INVALID", "Invalid"]);
  });

  it("validate - a resource that is defined twice is not used, and each place is named", () => {
    const text = JSON.stringify(meshOf(1));
    const { problems, meshes } = snapshotOf(["a.yaml", "b.yaml"].map((file) => parseResources(text, file)));
    assert.deepEqual(meshes, []);
    assert.deepEqual(
      problems.map(({ file: name, message }) => `${name ?? ""}: ${message}`),
      [
        "a.yaml: Mesh gloo-mesh/istiod-istio-system-cluster-1 is defined again at b.yaml:1",
        "b.yaml: Mesh gloo-mesh/istiod-istio-system-cluster-1 is defined again at a.yaml:1",
      ],
    );
  });
});
