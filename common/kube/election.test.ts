import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decide, type Lease, type Observation, observe, released } from "./election.ts";

const DURATION_MS = 15_000;
/** As in lease.ts: what a holder grants itself of the lease's life. */
const HELD_MS = (DURATION_MS * 2) / 3;

class Rehearsal {
  /** The API server's. */
  lease: Lease | undefined;
  nowMs = 0;
  version = 0;
  /** Who believes to hold it, from when until when. */
  readonly terms: { who: number; fromMs: number; untilMs: number; term: number }[] = [];

  /** A write with the resourceVersion that was read; refused when another was faster. */
  write(basis: Lease | undefined, spec: Lease["spec"]): Lease | undefined {
    if (basis?.metadata.resourceVersion !== this.lease?.metadata.resourceVersion) return undefined;
    this.lease = { metadata: { name: "l", resourceVersion: String(++this.version) }, spec };
    return this.lease;
  }
}

interface Step {
  readonly who: number;
  readonly idleMs: number;
  readonly readMs: number;
  readonly writeMs: number;
  readonly answerLost: boolean;
}

const step = fc.record({
  who: fc.integer({ min: 0, max: 2 }),
  idleMs: fc.integer({ min: 0, max: 20_000 }),
  readMs: fc.integer({ min: 0, max: 3_000 }),
  writeMs: fc.integer({ min: 0, max: 3_000 }),
  answerLost: fc.boolean(),
});

function play(rehearsal: Rehearsal, { who, ...step }: Step, clock: number, known: (Observation | undefined)[]): void {
  const local = (): number => Math.max(0, rehearsal.nowMs + clock);
  rehearsal.nowMs += step.idleMs;
  const sentMs = rehearsal.nowMs;
  const decidedAt = local();
  rehearsal.nowMs += step.readMs;
  const read = rehearsal.lease;
  const observed = read && observe(known[who], read, local());
  known[who] = observed;
  const next = decide(observed, { identity: `r${who}`, durationMs: DURATION_MS }, decidedAt);
  if (next.move === "wait") return;
  rehearsal.nowMs += step.writeMs;
  const written = rehearsal.write(read, next.spec);
  if (!written || step.answerLost) return;
  known[who] = observe(known[who], written, local());
  const term = written.spec.leaseTransitions ?? 0;
  rehearsal.terms.push({ who, fromMs: rehearsal.nowMs, untilMs: sentMs + HELD_MS, term });
}

test("election - whatever the clocks and delays, no two candidates ever believe to hold the lease at once", () => {
  const offsets = fc.tuple(...[0, 1, 2].map(() => fc.integer({ min: 0, max: 3_600_000 })));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), offsets, (steps, clocks) => {
      const rehearsal = new Rehearsal();
      const known: (Observation | undefined)[] = [];
      for (const each of steps) play(rehearsal, each, clocks[each.who] ?? 0, known);
      rehearsal.terms.forEach((later, index) => {
        for (const earlier of rehearsal.terms.slice(0, index)) {
          assert.ok(later.term >= earlier.term);
          if (later.who === earlier.who) continue;
          assert.ok(later.term > earlier.term, "a new holder has a new term");
          assert.ok(later.fromMs >= earlier.untilMs, "the former one had given up");
        }
      });
    }),
  );
});

test("election - a lease that stands still is taken after its own duration, a released one at once", () => {
  const lease = (spec: Lease["spec"]): Lease => ({ metadata: { name: "l", resourceVersion: "7" }, spec });
  const held = lease({ holderIdentity: "a", leaseDurationSeconds: 20, leaseTransitions: 4 });
  const me = { identity: "b", durationMs: DURATION_MS };
  const first = observe(undefined, held, 1_000);
  const again = observe(first, held, 20_999);
  assert.equal(decide(again, me, 20_999).move, "wait");
  const taken = decide(again, me, 21_000);
  assert.equal(taken.move, "write");
  assert.deepEqual(taken, {
    move: "write",
    spec: {
      holderIdentity: "b",
      leaseDurationSeconds: 15,
      acquireTime: "1970-01-01T00:00:21.000000Z",
      renewTime: "1970-01-01T00:00:21.000000Z",
      leaseTransitions: 5,
    },
  });
  const free = observe(undefined, lease(released(held.spec, 0)), 1_000);
  assert.equal(decide(free, me, 1_000).move, "write");
});
