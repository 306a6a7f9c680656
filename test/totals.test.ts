import assert from "node:assert/strict";
import { test } from "node:test";
import { Totals, type RunnerEvent } from "./totals.ts";

const says = (message: string, file?: string): RunnerEvent => ({
  type: "test:diagnostic",
  data: { nesting: 0, message, ...(file === undefined ? {} : { file }) },
});

async function* runOf(...events: RunnerEvent[]): AsyncGenerator<RunnerEvent> {
  yield* events;
}

test("test runs - two runs end in one count, and what they say else is passed on", async () => {
  const totals = new Totals();
  const pass: RunnerEvent = { type: "test:pass", data: { name: "a" } };
  const own = says("tests 9", "a.test.ts");
  const first = totals.without(runOf(pass, says("tests 3"), says("fail 0"), { type: "test:summary", data: {} }));
  assert.deepEqual(await Array.fromAsync(first), [pass]);
  assert.equal(totals.failed, false);
  assert.deepEqual(await Array.fromAsync(totals.without(runOf(own, says("tests 2"), says("fail 1")))), [own]);
  assert.equal(totals.failed, true);
  const messages = [...totals.events()].map(({ data }) => (data as { message: string }).message);
  assert.deepEqual(messages.slice(0, 4), ["tests 5", "suites 0", "pass 0", "fail 1"]);
});
