import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterIdentityStatus, KubernetesCluster } from "../../common/api/discovery.ts";
import type { ClusterRecord } from "../identity/records.ts";
import { identityOf, recordOf, sessionOf, storedSession } from "./cluster-status.ts";

const CERTIFICATE = { serial: "0A", fingerprint: "f1", keyHash: "k1", notAfterMs: 1_800_000_000_000 };

const cluster = (status: KubernetesCluster["status"]): KubernetesCluster => ({
  apiVersion: "multicluster.solo.io/v1alpha1",
  kind: "KubernetesCluster",
  metadata: { namespace: "gloo-mesh", name: "cluster-1" },
  ...(status && { status }),
});

test("cluster status - a record comes back as it was stored, with every part of it", () => {
  const token = { id: "t", secretHash: "h", expiresAtMs: 1_700_000_000_000, failures: 3 };
  const records: ClusterRecord[] = [
    { name: "cluster-1", state: "REGISTERED", token },
    { name: "cluster-1", state: "REVOKED" },
    {
      name: "cluster-1",
      state: "ENROLLED",
      current: { ...CERTIFICATE, trust: "t1" },
      next: { ...CERTIFICATE, serial: "0B" },
      previous: { ...CERTIFICATE, serial: "0C", refusedFromMs: 1_750_000_000_123 },
      token: { ...token, used: { atMs: 1_690_000_000_456, keyHash: "k2" } },
    },
  ];
  for (const record of records) assert.deepEqual(recordOf(cluster({ identity: identityOf(record) })), record);
  assert.deepEqual(recordOf(cluster(undefined)), { name: "cluster-1", state: "REGISTERED" });
});

test("cluster status - what is incomplete lets nobody in, and half a use of a token is a use", () => {
  const identity: ClusterIdentityStatus = {
    state: "ENROLLED",
    current: { serial: "0A", fingerprint: "f1", keyHash: "k1", notAfter: "soon" },
    previous: { serial: "0A", fingerprint: "f1", keyHash: "k1", notAfter: "2027-01-01T00:00:00Z" },
    token: { id: "t", secretHash: "h", expiresAt: "2027-01-01T00:00:00Z", usedByKeyHash: "k" },
  };
  const record = recordOf(cluster({ identity }));
  assert.deepEqual([record.state, record.current, record.previous], ["ENROLLED", undefined, undefined]);
  assert.deepEqual(record.token?.used, { atMs: 0, keyHash: "k" });
  const endless = recordOf(cluster({ identity: { token: { id: "t", secretHash: "h" } } }));
  assert.equal(endless.token, undefined);
});

test("cluster status - a session comes back as it was stored; one without its epoch is none", () => {
  const session = { cluster: "cluster-1", sessionId: "s", epoch: 1_800_000_000_001n, replica: "a" };
  const facts = { peer: "10.1.2.3:4", agentVersion: "0.1.0", connectedAtMs: 1_700_000_000_000 };
  const stored = storedSession({ ...session, ...facts });
  const expected = { ...session, ...facts, connected: true, clockOffsetMs: 0 };
  assert.deepEqual(sessionOf(cluster({ session: stored })), expected);
  assert.equal(sessionOf(cluster({ session: { replica: "a", sessionId: "s" } })), undefined);
});

test("cluster status - of a session that has ended it is known when and why", () => {
  const session = { epoch: 5, replica: "a", sessionId: "s", connectedAt: "2027-01-01T00:00:00Z" };
  const over = { ...session, connected: false, endedAt: "2027-01-01T00:01:00Z", endReason: "the agent left" };
  const ended = { atMs: Date.parse("2027-01-01T00:01:00Z"), reason: "the agent left" };
  assert.deepEqual(sessionOf(cluster({ session: over }))?.ended, ended);
  assert.equal(sessionOf(cluster({ session: { ...over, connected: true } }))?.ended, undefined);
  assert.equal(sessionOf(cluster({ session: { ...over, endedAt: "once" } }))?.ended, undefined);
});
