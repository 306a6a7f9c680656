import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { IssuedCertificate as CertificateObject } from "../../common/api/certificates.ts";
import { wireResource } from "../../common/session/resource-set.ts";
import { CertificateState, IssuedCertificate, ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { orderOf } from "../certs/orders.ts";
import {
  certificateObject,
  readCertificate,
  type HeldAs,
  type StoredCertificate,
} from "../store/certificate-object.ts";
import { nextStatus, type StatusView } from "./entries.ts";

const NAME = { namespace: "gloo-mesh", name: "mesh" };
const OWNER = { namespace: "gloo-mesh", cluster: "cluster-1" };
const ORDERS = { cluster: "cluster-1", vault: { server: "http://own-vault:8200" } };
const CERTIFICATE = IssuedCertificate.fromPartial({
  ...{ name: NAME, hosts: ["spiffe://x"], installation: { namespace: "istio-system" } },
  certificateAuthority: { $case: "vault", value: { server: "http://vault.vault:8200", caPath: "pki" } },
});
const { version: VERSION } = orderOf(CERTIFICATE, ORDERS);
const { CERTIFICATE_STATE_FINISHED: FINISHED, CERTIFICATE_STATE_FAILED: FAILED } = CertificateState;

function object(heldAs: HeldAs = "managed"): { object: CertificateObject; stored: StoredCertificate } {
  const resource = wireResource(NAME, Buffer.from(IssuedCertificate.encode(CERTIFICATE).finish()));
  const { metadata, spec } = certificateObject(resource, heldAs, OWNER);
  const made: CertificateObject = {
    ...{ apiVersion: "certificates.mesh.gloo.solo.io/v1", kind: "IssuedCertificate", spec },
    metadata: { ...metadata, generation: 3 },
  };
  return { object: made, stored: readCertificate(made) ?? assert.fail("not readable") };
}

const pod = (podUid: string, changes: Partial<ReplicaStatus> = {}): ReplicaStatus =>
  ReplicaStatus.fromPartial({
    ...{ podUid, podName: `istiod-${podUid}`, podNamespace: "istio-system", state: FINISHED, connected: true },
    ...{ orderVersion: VERSION, serial: podUid },
    ...changes,
  });

function view(replica: string, pods: readonly ReplicaStatus[], changes: Partial<StatusView> = {}): StatusView {
  const mine = new Map(pods.map((each) => [each.podUid, each]));
  const nobody = (): boolean => false;
  return {
    replica,
    leading: false,
    mine,
    isPodGone: nobody,
    isReplicaGone: nobody,
    orders: ORDERS,
    nowMs: 0,
    ...changes,
  };
}

/** What stands after these replicas have written in turn. */
function write(start: CertificateObject, stored: StoredCertificate, views: readonly StatusView[]): CertificateObject {
  return views.reduce<CertificateObject>((now, each) => {
    const status = nextStatus(now, stored, each);
    return status ? { ...now, status } : now;
  }, start);
}

test("entries - each replica writes its own pods, leaves the others, and the leader folds them all", () => {
  const { object: start, stored } = object();
  const failed = pod("2", { state: FAILED, error: { code: "vault_sealed", message: "sealed", hint: "" } });
  const [a, b] = [view("a", [pod("1")], { leading: true }), view("b", [failed])];
  const { status } = write(start, stored, [a, b, a]);
  assert.deepEqual(
    status?.replicas?.map(({ podUid, agent, connected }) => [podUid, agent, connected]),
    [
      ["1", "a", true],
      ["2", "b", true],
    ],
  );
  assert.deepEqual([status.state, status.error, status.observedGeneration], ["FAILED", "istiod-2: sealed", 3]);
  assert.equal(status.appliedAgentCa?.vault?.server, "http://own-vault:8200", "the cluster's own vault is shown");
  assert.deepEqual(
    status.conditions?.map(({ type, status: is, reason }) => [type, is, reason]),
    [["Ready", "False", "Failed"]],
  );
});

test("entries - the leader says when all is proved, until when, and that the intent is gone", () => {
  const { object: start, stored } = object("released");
  const [soon, late] = [new Date(1_000), new Date(9_000)];
  const leader = view("a", [pod("1", { notAfter: late }), pod("2", { notAfter: soon })], { leading: true });
  const folded = write(start, stored, [leader]);
  const { status } = folded;
  assert.deepEqual([status?.state, status?.notAfter, status?.detached], ["FINISHED", soon.toISOString(), true]);
  assert.deepEqual(
    status?.conditions?.map(({ type, status: is, reason }) => `${type} ${is} ${reason}`),
    ["Ready True Proved", "Detached True Removed"],
  );
  const later = { ...leader, nowMs: 5_000 };
  assert.equal(nextStatus(folded, stored, later), undefined, "time alone is no news");
});

test("entries - a success under an earlier order is one under way", () => {
  const { object: start, stored } = object();
  const leader = view("a", [pod("1", { orderVersion: Buffer.alloc(32) })], { leading: true });
  assert.equal(write(start, stored, [leader]).status?.state, "REQUESTED");
});

test("entries - one stays when its stream ends, and goes with its pod alone; a dead replica's is not connected", () => {
  const { object: start, stored } = object();
  const linked = write(start, stored, [view("a", [pod("1")]), view("b", [pod("2")])]);
  const left = write(linked, stored, [view("a", [pod("1", { connected: false })])]);
  assert.deepEqual(
    left.status?.replicas?.map(({ connected }) => connected),
    [false, true],
  );
  const restarted = write(linked, stored, [view("a", [])]);
  assert.deepEqual(
    restarted.status?.replicas?.map(({ connected }) => connected),
    [false, true],
  );
  const leader = view("c", [], { leading: true, isReplicaGone: (replica) => replica === "b" });
  const dead = write(left, stored, [leader]);
  assert.deepEqual(
    dead.status?.replicas?.map(({ connected }) => connected),
    [false, false],
  );
  const gone = write(dead, stored, [{ ...leader, isPodGone: (_, uid) => uid === "1" }]);
  assert.deepEqual(
    gone.status?.replicas?.map(({ podUid }) => podUid),
    ["2"],
  );
  const follower = view("d", [], { isPodGone: () => true });
  assert.equal(nextStatus(dead, stored, follower), undefined, "only the leader takes entries away");
});

test("entries - a pod that moved is spoken of by the replica that it came to", () => {
  const { object: start, stored } = object();
  const left = view("a", [pod("1", { connected: false, serial: "old" })]);
  const came = view("b", [pod("1", { serial: "new" })]);
  const { status } = write(start, stored, [left, came, left]);
  assert.deepEqual(
    status?.replicas?.map(({ agent, serial }) => [agent, serial]),
    [["b", "new"]],
  );
});

test("entries - a challenge is taken away by whoever holds the stream, and by nobody else", () => {
  const { object: start, stored } = object();
  const holder = view("a", [pod("1")]);
  const linked = write(start, stored, [holder]);
  const [entry] = linked.status?.replicas ?? [];
  const challenged = { ...linked, status: { replicas: [{ ...entry!, challengedBy: "b" }] } };
  assert.equal(nextStatus(challenged, stored, view("b", [])), undefined);
  assert.deepEqual(nextStatus(challenged, stored, holder)?.replicas, [entry]);
});

test("entries - whoever writes in whatever order, all come to rest, and each pod has one entry", () => {
  const statuses = fc.uniqueArray(fc.constantFrom<string>("1", "2", "3", "4"), { maxLength: 4 });
  const replicas = fc.record({ a: statuses, b: statuses, gone: statuses, leader: fc.constantFrom("a", "b") });
  const turns = fc.array(fc.constantFrom("a", "b"), { maxLength: 12 });
  fc.assert(
    fc.property(replicas, turns, ({ a, b, gone, leader }, order) => {
      const { object: start, stored } = object();
      // A pod has one stream.
      const pods = { a: a.map((uid) => pod(uid)), b: b.filter((uid) => !a.includes(uid)).map((uid) => pod(uid)) };
      const isPodGone = (_: string, uid: string): boolean => gone.includes(uid);
      const views = {
        a: view("a", pods.a, { leading: leader === "a", isPodGone }),
        b: view("b", pods.b, { leading: leader === "b", isPodGone }),
      };
      let now = write(
        start,
        stored,
        order.map((name) => views[name]),
      );
      now = write(now, stored, [views.a, views.b, views[leader]]);
      assert.deepEqual([nextStatus(now, stored, views.a), nextStatus(now, stored, views.b)], [undefined, undefined]);
      const uids = (now.status?.replicas ?? []).map(({ podUid }) => podUid);
      assert.deepEqual([...uids].sort(), [...new Set([...a, ...b])].sort());
    }),
  );
});
