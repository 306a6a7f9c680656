import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { SeenObjects } from "./seen-objects.ts";

const object = (resourceVersion: string, uid = "u") => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "a", uid, resourceVersion },
});

test("seen objects - what was written counts until the watch tells of it or of something newer", () => {
  const seen = new SeenObjects(new ManualClock());
  seen.add("a", object("10"));
  for (const heard of [undefined, object("9")]) assert.equal(seen.newest("a", heard)?.metadata.resourceVersion, "10");
  assert.equal(seen.newest("a", object("100"))?.metadata.resourceVersion, "100");
  // It is forgotten with that: what is heard from now on counts.
  assert.equal(seen.newest("a", object("9"))?.metadata.resourceVersion, "9");
});

test("seen objects - a deletion is heard, and one of an earlier object of the name is not", () => {
  const seen = new SeenObjects(new ManualClock());
  seen.add("a", object("10", "new"));
  seen.gone("a", "old");
  assert.equal(seen.newest("a", undefined)?.metadata.uid, "new");
  seen.gone("a", "new");
  assert.equal(seen.newest("a", undefined), undefined);
});

test("seen objects - after a while only what is heard counts, so that a restored store is believed", () => {
  const clock = new ManualClock();
  const seen = new SeenObjects(clock);
  seen.add("a", object("1000"));
  clock.advance(11_000);
  assert.equal(seen.newest("a", object("7"))?.metadata.resourceVersion, "7");
  assert.deepEqual(seen.values(), []);
});
