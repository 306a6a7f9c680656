import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MeshCertificateStatus } from "../../common/api/discovery.ts";
import { checkSchema, findDefinition } from "../../common/api/schema.ts";
import {
  type CertificateState,
  IssuedCertificateStatus,
  type PodBounceState,
  PodBounceStatus,
  ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { fromStored, toStored } from "./stored-certificate.ts";

const name = { namespace: "gloo-mesh", name: "istiod-istio-system-cluster-1" };
const bytes = fc.uint8Array({ maxLength: 32 }).map((array) => Buffer.from(array));
const record = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(fields, { noNullPrototype: true });
const count = fc.nat({ max: 2 ** 32 - 1 });

const state = fc.integer({ min: 1, max: 5 }).map((each) => each as CertificateState);

const replica = record<Partial<ReplicaStatus>>({
  podUid: fc.string(),
  state,
  rootSha256: bytes,
  notAfter: fc.option(fc.date({ min: new Date(0), max: new Date("2200-01-01"), noInvalidDate: true }), {
    nil: undefined,
  }),
}).map((fields) => ReplicaStatus.create(fields));
const report: fc.Arbitrary<IssuedCertificateStatus> = record({
  name: fc.constant(name),
  observedVersion: bytes,
  state,
  replicas: fc.array(replica, { maxLength: 4 }),
  detached: fc.boolean(),
  error: fc.option(record({ code: fc.string(), message: fc.string(), hint: fc.string() }), { nil: undefined }),
  podBounce: fc.option(
    record<PodBounceStatus>({
      state: fc.integer({ min: 1, max: 4 }).map((each) => each as PodBounceState),
      message: fc.string(),
      restarted: count,
      remaining: count,
      unmanaged: fc.array(fc.string()),
    }),
    { nil: undefined },
  ),
});

function schemaFaults(issuedCertificate: MeshCertificateStatus) {
  const kind = { apiVersion: "discovery.mesh.gloo.solo.io/v1", kind: "Mesh" };
  const definition = findDefinition(kind.apiVersion, kind.kind) ?? assert.fail();
  return checkSchema(definition, { ...kind, metadata: name, spec: {}, status: { issuedCertificate } });
}

test("stored certificate - a Mesh says what the agent said, and its schema takes it", () => {
  fc.assert(
    fc.property(report, (told) => {
      const stored = toStored(told);
      assert.deepEqual(fromStored(name, stored), told);
      assert.deepEqual(schemaFaults(stored), []);
      // Through JSON, as the API server gives it back.
      assert.deepEqual(fromStored(name, JSON.parse(JSON.stringify(stored)) as MeshCertificateStatus), told);
    }),
    { numRuns: 100 },
  );
});

test("stored certificate - the earliest end stands beside, and nothing was told without a state", () => {
  const [soon, late] = ["2026-02-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z"];
  const replicas = [late, soon].map((end) => ReplicaStatus.create({ notAfter: new Date(end) }));
  assert.equal(toStored(IssuedCertificateStatus.create({ replicas })).notAfter, soon);
  assert.equal(fromStored(name, { epoch: 3, acknowledgedVersion: "ab" }), undefined);
});

test("stored certificate - what would not fit into an object is cut, not refused", () => {
  const replicas = Array.from({ length: 200 }, (_, index) =>
    ReplicaStatus.create({ podUid: String(index), evidence: "\u0001".repeat(1024) }),
  );
  const stored = toStored(IssuedCertificateStatus.create({ replicas }));
  const { length } = JSON.stringify(stored);
  assert.ok(length < 300_000, String(length));
  assert.ok((stored.replicas?.length ?? 0) >= 20);
});

test("stored certificate - a restart keeps its state in both forms", () => {
  const podBounce = PodBounceStatus.create({ state: 2, message: "m", restarted: 1, remaining: 2 });
  const stored = toStored(IssuedCertificateStatus.create({ podBounce }));
  assert.deepEqual(stored.podBounce, { state: "BOUNCING_PODS", message: "m", restarted: 1, remaining: 2 });
});
