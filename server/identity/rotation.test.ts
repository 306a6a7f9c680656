import assert from "node:assert/strict";
import { test } from "node:test";
import type { CertificateRecord, ClusterRecord } from "./records.ts";
import { lagging } from "./rotation.ts";

const certificate = (trust: string | undefined, notAfterMs = 2_000): CertificateRecord => ({
  ...{ serial: "0A", fingerprint: "f", keyHash: "k", notAfterMs },
  ...(trust !== undefined && { trust }),
});

test("relay ca rotation - waits for a certificate in use that came with other roots, and for no other", () => {
  const records: ClusterRecord[] = [
    { name: "caught-up", state: "ENROLLED", current: certificate("new"), next: certificate("old") },
    { name: "old", state: "ENROLLED", current: certificate("old") },
    { name: "older-than-records", state: "ENROLLED", current: certificate(undefined) },
    // It was sent the roots, and nobody has seen that it has them.
    { name: "sent", state: "ENROLLED", current: certificate("old"), next: certificate("new") },
    { name: "enrolled-and-never-seen", state: "ENROLLED", next: certificate("new") },
    { name: "ended", state: "ENROLLED", current: certificate("old", 1_000) },
    { name: "revoked", state: "REVOKED" },
    { name: "registered", state: "REGISTERED" },
  ];
  assert.deepEqual(
    lagging(records, "new", 1_000).map(({ name }) => name),
    ["old", "older-than-records", "sent", "enrolled-and-never-seen"],
  );
});
