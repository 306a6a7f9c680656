import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CertificateState, ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { fromReplica, resourceState, toReplica, wireState } from "./replica.ts";
import { findDefinition, checkSchema } from "./schema.ts";

/** As the decoder makes them: fast-check's own have no prototype, which `deepEqual` minds. */
function plainRecord<T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(fields, { noNullPrototype: true });
}

const text = fc.string({ maxLength: 8 });
const bytes = fc.uint8Array({ maxLength: 32 }).map((array) => Buffer.from(array));
const time = fc.option(fc.date({ min: new Date(0), max: new Date("2200-01-01"), noInvalidDate: true }), {
  nil: undefined,
});
const status: fc.Arbitrary<ReplicaStatus> = plainRecord({
  ...{ podName: text, podNamespace: text, podUid: text, serial: text, subjectKeyId: text, issuer: text },
  ...{ evidence: text, vaultServer: text, directory: text, warnings: fc.array(text) },
  ...{ rootSha256: bytes, orderVersion: bytes, notBefore: time, notAfter: time, renewAt: time },
  state: fc.constantFrom(...[1, 2, 3, 4, 5].map((each) => each as CertificateState)),
  error: fc.option(plainRecord({ code: text, message: text, hint: text }), { nil: undefined }),
  connected: fc.boolean(),
});

test("replica - the entry of a resource says what the wire says, and the schema takes it", () => {
  const definition = findDefinition("certificates.mesh.gloo.solo.io/v1", "IssuedCertificate")!;
  fc.assert(
    fc.property(status, (wire) => {
      const entry = toReplica(wire);
      assert.deepEqual(fromReplica(entry), wire);
      const resource = {
        ...{ apiVersion: definition.apiVersion, kind: definition.kind },
        ...{ metadata: { name: "a", namespace: "b" }, spec: {}, status: { replicas: [entry] } },
      };
      assert.deepEqual(checkSchema(definition, resource), []);
    }),
    { numRuns: 50 },
  );
});

test("replica - what is empty is left out, and what is no time or no stage does no harm", () => {
  const empty = ReplicaStatus.create({ podUid: "u" });
  assert.deepEqual(toReplica(empty), { podUid: "u", state: "PENDING", connected: false });
  assert.equal(fromReplica({ podUid: "u", notAfter: "soon" }).notAfter, undefined);
  assert.equal(resourceState(CertificateState.CERTIFICATE_STATE_UNSPECIFIED), "PENDING");
  assert.equal(wireState(undefined), CertificateState.CERTIFICATE_STATE_PENDING);
});
