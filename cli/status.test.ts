import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualMeshStatus } from "../proto/gen/admin/v1/admin.ts";
import { CertificateState, type ReplicaStatus } from "../proto/gen/certificates/v1/certificates.ts";
import { formatChange, formatStatus } from "./status.ts";

const ISSUED = { podName: "istiod-1", state: CertificateState.CERTIFICATE_STATE_ISSUED, evidence: "not asked yet" };

function lineOf(replica: Partial<ReplicaStatus>): string {
  const clusters = [{ cluster: "cluster-1", certificate: { replicas: [{ ...ISSUED, ...replica }] } }];
  const text = formatStatus({ virtualMeshes: [VirtualMeshStatus.fromPartial({ clusters })], sourceProblems: [] });
  return text.split("\n").at(-1) ?? "";
}

test("meshctl status - an istiod is shown with its fault, else that its agent is away, else what is not proved", () => {
  const error = { code: "vault_denied", message: "no", hint: "" };
  assert.match(lineOf({ connected: false, error }), /vault_denied: no$/);
  assert.match(lineOf({ connected: false }), /the istiod-agent is away: nobody renews this certificate$/);
  assert.match(lineOf({ connected: true }), /not asked yet$/);
  assert.match(lineOf({ connected: true, state: CertificateState.CERTIFICATE_STATE_FINISHED }), / -\s*$/);
});

test("meshctl status - of several answers in a row each has its time", () => {
  const text = formatChange({ virtualMeshes: [], sourceProblems: [] }, Date.parse("2026-01-01T12:00:00.5Z"));
  assert.equal(text, "2026-01-01T12:00:00Z\n\nno virtual mesh\n");
});

test("meshctl status - a refused edit is told once, with its place and with what stays in force", () => {
  const fault = "mesh.yaml:7:3: spec.foo: unknown field";
  const message = `${fault}; generation 1 stays in force`;
  const status = { state: "INVALID", errors: [fault], conditions: [{ type: "Accepted", status: "False", message }] };
  const virtualMeshes = [VirtualMeshStatus.fromPartial({ name: { name: "vm", namespace: "gloo-mesh" }, status })];
  const text = formatStatus({ virtualMeshes, sourceProblems: [fault, "other.yaml:1:1: no"] });
  assert.match(
    text,
    /^vm\.gloo-mesh +INVALID +Unknown +mesh\.yaml:7:3: spec\.foo: unknown field; generation 1 stays in force$/m,
  );
  assert.equal(text.split(fault).length, 2);
  assert.match(text, /LAST GOOD FORM STAYS IN FORCE\nother\.yaml:1:1: no$/);
});
