import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import type { ManagedFields } from "../../common/kube/reflection.ts";
import { createRootCa } from "../../common/pki/authority.ts";
import { certificateFacts } from "../../common/pki/certificate.ts";
import { readNamespaceRoot } from "./namespace-root.ts";

const CREATED = "2026-01-01T00:00:00Z";
const KEY = { "f:data": { "f:root-cert.pem": {} } };

const read = (pem: string | undefined, managedFields: readonly ManagedFields[]) =>
  readNamespaceRoot({
    ...{ apiVersion: "v1", kind: "ConfigMap" },
    metadata: { namespace: "app", name: "istio-ca-root-cert", creationTimestamp: CREATED, managedFields },
    ...(pem === undefined ? {} : { data: { "root-cert.pem": pem } }),
  });

test("namespace root - the roots are those of the ConfigMap, one or several, and none where there is no certificate", async () => {
  const roots = await Promise.all(
    ["a", "b"].map((commonName) => {
      const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
      return createRootCa({ subject: { commonName }, key, notBeforeMs: 0, notAfterMs: 1e12 });
    }),
  );
  const pems = roots.map(({ pem }) => pem);
  const prints = roots.map((root) => certificateFacts(root).sha256Fingerprint);
  assert.deepEqual(read(pems.join("\n"), []).roots, prints);
  assert.deepEqual(read(pems[0], []).roots, prints.slice(0, 1));
  for (const pem of [undefined, "", "no pem"]) assert.deepEqual(read(pem, []).roots, []);
});

test("namespace root - it is there since its owner changed the key, and not since others touched the object", () => {
  const istiod = { manager: "pilot-discovery", operation: "Update", time: "2026-01-01T00:01:00Z", fieldsV1: KEY };
  const label = { "f:metadata": { "f:labels": { "f:x": {} } }, "f:data": { "f:other": {} } };
  const other = { manager: "kubectl", time: "2026-01-01T00:02:00Z", fieldsV1: label };
  const same = { manager: "also", time: "2026-01-01T00:03:00Z", fieldsV1: KEY };
  const since = (...managedFields: ManagedFields[]) => new Date(read("", managedFields).sinceMs).toISOString();
  assert.equal(since(other, istiod), "2026-01-01T00:01:00.000Z");
  assert.equal(since(same, other, istiod), "2026-01-01T00:01:00.000Z");
  assert.equal(since(other), "2026-01-01T00:00:00.000Z");
  assert.equal(since({ manager: "x", fieldsV1: KEY }, { manager: "y", fieldsV1: null }), "2026-01-01T00:00:00.000Z");
});
