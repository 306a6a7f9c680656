import assert from "node:assert/strict";
import { test } from "node:test";
import { CertificateState, IssuedCertificate, ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { LinkBook } from "./links.ts";
import { orderVersion, type HeldCertificate } from "./orders.ts";
import { leastAdvanced } from "./replica-status.ts";
import type { PodIdentity } from "./token-reviewer.ts";

const {
  CERTIFICATE_STATE_PENDING: PENDING,
  CERTIFICATE_STATE_REQUESTED: REQUESTED,
  CERTIFICATE_STATE_ISSUED: ISSUED,
  CERTIFICATE_STATE_FINISHED: FINISHED,
  CERTIFICATE_STATE_FAILED: FAILED,
} = CertificateState;
const HOUR_MS = 3_600_000;

const HELD: HeldCertificate = {
  certificate: IssuedCertificate.fromPartial({
    name: { namespace: "gloo-mesh", name: "mesh" },
    installation: { namespace: "istio-system", deployment: "istiod" },
    certificateAuthority: { $case: "vault", value: { server: "http://vault" } },
  }),
  version: Buffer.alloc(32, 7),
  detached: false,
};

const pod = (podUid: string): PodIdentity => ({
  podName: `istiod-${podUid}`,
  podUid,
  podNamespace: "istio-system",
  serviceAccount: "istiod",
  expiresAtMs: 0,
});

function open() {
  const clock = new ManualClock();
  const held = new Latest<readonly HeldCertificate[]>([HELD]);
  const book = new LinkBook({ held, context: { cluster: "c", vault: {} }, forgetAfterMs: HOUR_MS, clock });
  return { clock, held, book, status: () => book.statuses.value?.[0] };
}

/** What a pod says that follows the order of HELD. */
const told = (state: CertificateState, notAfterMs = 0): ReplicaStatus =>
  ReplicaStatus.fromPartial({
    state,
    orderVersion: orderVersion(HELD.certificate),
    ...(notAfterMs > 0 ? { notAfter: new Date(notAfterMs) } : {}),
  });

test("link book - a success under an earlier order counts as under way until the pod has taken the new one", () => {
  const { book, held, status } = open();
  const link = book.open(pod("1"));
  link.report(told(FINISHED));
  assert.equal(status()?.state, FINISHED);
  const changed = {
    ...HELD,
    certificate: { ...HELD.certificate, hosts: ["spiffe://other"] },
    version: Buffer.alloc(32, 8),
  };
  held.set([changed]);
  link.report(told(FINISHED));
  assert.deepEqual([status()?.observedVersion, status()?.state], [changed.version, REQUESTED]);
  link.report({ ...told(FINISHED), orderVersion: orderVersion(changed.certificate) });
  assert.equal(status()?.state, FINISHED);
});

test("link book - the state is the least advanced of the pods that are linked", () => {
  const { book, status } = open();
  const [one, two] = [book.open(pod("1")), book.open(pod("2"))];
  assert.deepEqual([status()?.state, status()?.observedVersion], [PENDING, HELD.version]);
  one.report(told(FINISHED));
  assert.equal(status()?.state, PENDING);
  two.report(told(ISSUED));
  assert.equal(status()?.state, ISSUED);
  two.report(told(FAILED));
  assert.equal(status()?.state, FAILED);
  two.close();
  assert.equal(status()?.state, FINISHED);
  one.close();
  assert.equal(status()?.state, FAILED, "with nobody linked, all that were count");
  assert.equal(leastAdvanced([]), PENDING);
});

test("link book - a closed link neither speaks nor closes the next one of its pod", () => {
  const { book, status } = open();
  const first = book.open(pod("1"));
  assert.throws(() => book.open(pod("1")), { code: "conflict", retriable: true });
  first.report(told(ISSUED));
  first.close();
  const second = book.open(pod("1"));
  assert.equal(status()?.replicas[0]?.state, ISSUED, "what is known outlives the stream");
  first.report(told(FAILED));
  first.close();
  assert.deepEqual([status()?.replicas[0]?.state, status()?.replicas[0]?.connected], [ISSUED, true]);
  second.close();
});

test("link book - follows what is held, and lists pods without an order apart", async () => {
  const { book, held } = open();
  book.open(pod("1"));
  const stop = new AbortController();
  const running = book.run(stop.signal);
  held.set([{ ...HELD, detached: true }]);
  await book.statuses.until(([status]) => status?.detached === true, AbortSignal.timeout(30_000));
  held.set([]);
  await book.statuses.until((statuses) => statuses.length === 0, AbortSignal.timeout(30_000));
  assert.deepEqual(
    book.list().map(({ name, replicas }) => [name, replicas.map(({ podUid }) => podUid)]),
    [[undefined, ["1"]]],
  );
  stop.abort();
  await running;
});

test("link book - forgets a pod only when it is long gone and its certificate has ended", () => {
  const { book, clock, status } = open();
  const [alive, gone] = [book.open(pod("1")), book.open(pod("2"))];
  alive.report(told(FINISHED));
  gone.report(told(FINISHED, clock.now() + 3 * HOUR_MS));
  gone.close();
  const forgetAfter = (ms: number): string[] => {
    clock.advance(ms);
    book.forgetGone();
    return (status()?.replicas ?? []).map(({ podUid }) => podUid);
  };
  assert.deepEqual(forgetAfter(2 * HOUR_MS), ["1", "2"]);
  assert.deepEqual(forgetAfter(2 * HOUR_MS), ["1"]);
});

test("link book - room is made by forgetting the longest gone, and never by dropping a linked pod", () => {
  const { book, status } = open();
  const links = Array.from({ length: 256 }, (_, index) => book.open(pod(`p${index}`)));
  assert.throws(() => book.open(pod("one-more")), { code: "resource_exhausted" });
  links[9]?.close();
  book.open(pod("one-more"));
  const uids = status()?.replicas.map(({ podUid }) => podUid) ?? [];
  assert.deepEqual([uids.length, uids.includes("p9"), uids.includes("one-more")], [256, false, true]);
});
