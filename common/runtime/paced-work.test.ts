import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { MeshError } from "./errors.ts";
import { ManualClock } from "./manual-clock.ts";
import { PacedWork, type PacedWorkOptions } from "./paced-work.ts";

/** Works that end when they are told to. */
function setUp(options: Partial<PacedWorkOptions> = {}) {
  const clock = new ManualClock(0);
  const begun: string[] = [];
  const failures: string[] = [];
  const underWay = new Map<string, PromiseWithResolvers<undefined>>();
  const paced = new PacedWork({
    work: async (key) => {
      begun.push(key);
      const end = Promise.withResolvers<undefined>();
      underWay.set(key, end);
      await end.promise;
    },
    onFailure: (key, { message }) => failures.push(`${key}: ${message}`),
    clock,
    random: () => 0.999,
    ...options,
  });
  const stop = new AbortController();
  const running = paced.run(stop.signal);
  const settle = async (): Promise<void> => {
    for (let count = 0; count < 5; count++) await turn();
  };
  return {
    paced,
    clock,
    begun,
    failures,
    settle,
    async finish(key: string, error?: Error) {
      const end = underWay.get(key) ?? assert.fail(`no work on ${key}`);
      if (error) end.reject(error);
      else end.resolve(undefined);
      await settle();
    },
    async touch(...keys: string[]) {
      for (const key of keys) paced.touch(key);
      await settle();
    },
    async stop() {
      stop.abort();
      for (const { resolve } of underWay.values()) resolve(undefined);
      await running;
    },
  };
}

test("paced work - one work on a key at a time, and one more however often it was touched meanwhile", async () => {
  const all = setUp();
  await all.touch("a", "a");
  await all.touch("a", "a", "a");
  assert.deepEqual(all.begun, ["a"]);
  await all.finish("a");
  assert.deepEqual(all.begun, ["a", "a"]);
  await all.finish("a");
  assert.deepEqual(all.begun, ["a", "a"]);
  await all.stop();
});

test("paced work - so many keys at once and no more, and the next as soon as one is done", async () => {
  const all = setUp({ parallel: 2 });
  await all.touch("a", "b", "c");
  assert.deepEqual(all.begun, ["a", "b"]);
  await all.finish("b");
  assert.deepEqual(all.begun, ["a", "b", "c"]);
  await all.stop();
});

test("paced work - a key that never rests is slowed down, and holds up no other", async () => {
  const all = setUp({ parallel: 1, spacingMs: 200 });
  await all.touch("a");
  await all.finish("a");
  await all.touch("a", "b");
  assert.deepEqual(all.begun, ["a", "b"]);
  await all.finish("b");
  all.clock.advance(199);
  await all.settle();
  assert.deepEqual(all.begun, ["a", "b"]);
  all.clock.advance(1);
  await all.settle();
  assert.deepEqual(all.begun, ["a", "b", "a"]);
  await all.stop();
});

test("paced work - what failed is told and tried again, each time later, until it succeeds", async () => {
  const all = setUp();
  await all.touch("a");
  await all.finish("a", new MeshError("unavailable", "away"));
  assert.deepEqual(all.failures, ["a: away"]);
  all.clock.advance(249);
  await all.settle();
  assert.equal(all.begun.length, 1);
  all.clock.advance(1);
  await all.settle();
  await all.finish("a", new MeshError("unavailable", "away"));
  all.clock.advance(250);
  await all.settle();
  assert.equal(all.begun.length, 2);
  all.clock.advance(250);
  await all.settle();
  await all.finish("a");
  all.clock.advance(60_000);
  await all.settle();
  assert.deepEqual([all.begun.length, all.failures.length], [3, 2]);
  await all.stop();
});

test("paced work - it stops while a key rests or waits", async () => {
  const all = setUp({ parallel: 1, spacingMs: 1_000 });
  await all.touch("a");
  await all.finish("a");
  await all.touch("a", "b", "c");
  await all.stop();
  assert.deepEqual(all.begun, ["a", "b"]);
});
