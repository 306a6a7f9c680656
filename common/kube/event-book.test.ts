import assert from "node:assert/strict";
import { test } from "node:test";
import { EventBook, type EventWrite } from "./event-book.ts";
import type { EventFacts } from "./events.ts";

const MINUTE_MS = 60_000;

const event = (note: string, name = "cluster-1"): EventFacts => ({
  regarding: { apiVersion: "v1", kind: "KubernetesCluster", metadata: { namespace: "gloo-mesh", name } },
  ...{ type: "Normal", reason: "Enrolled", action: "Enroll", note },
});

function writeAll(book: EventBook): EventWrite[] {
  const writes: EventWrite[] = [];
  for (let write = book.next(); write; write = book.next()) {
    writes.push(write);
    book.written(write);
  }
  return writes;
}

test("event book - what repeats is one event whose count is written once a minute, and a new one after a rest", () => {
  const book = new EventBook();
  assert.equal(book.take(event("a"), 0), true);
  const [first] = writeAll(book);
  assert.equal(first?.count, 1);
  for (let second = 1; second < 60; second++) assert.equal(book.take(event("a"), second * 1000), false);
  assert.equal(book.take(event("a"), MINUTE_MS), true);
  const [again] = writeAll(book);
  assert.deepEqual([again?.name, again?.count, again?.lastMs], [first.name, 61, MINUTE_MS]);
  assert.equal(book.take(event("a"), 12 * MINUTE_MS), true);
  const [later] = writeAll(book);
  assert.equal(later?.count, 1);
  assert.notEqual(later.name, first.name);
});

test("event book - an object gets only so many, then one a minute; others are not touched by it", () => {
  const book = new EventBook();
  const taken = Array.from({ length: 100 }, (_, number) => book.take(event(`n${number}`), 0)).filter(Boolean);
  assert.equal(taken.length, 25);
  assert.equal(book.take(event("other", "cluster-2"), 0), true);
  assert.equal(writeAll(book).length, 26);
  assert.equal(book.take(event("next"), MINUTE_MS), true);
  assert.equal(book.take(event("one more"), MINUTE_MS), false);
});

test("event book - what waits is bounded, and what was dropped does not come back", () => {
  const book = new EventBook();
  for (let number = 0; number < 1_000; number++) book.take(event("a", `cluster-${number}`), 0);
  const write = book.next();
  assert.ok(write);
  assert.equal(book.next()?.name, write.name);
  book.dropped(write);
  assert.notEqual(book.next()?.name, write.name);
  assert.equal(writeAll(book).length, 255);
});
