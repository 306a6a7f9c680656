import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectResponse, type Push } from "../../proto/gen/relay/v1/relay.ts";
import { createPushEncoder } from "./session.ts";

const pushOf = (digest: string, changes: Partial<Push> = {}): Push => ({
  ...{ type: "t", id: 1n, base: Buffer.alloc(0), removals: [], digest: Buffer.from(digest) },
  upserts: [{ name: { namespace: "n", name: "a" }, content: Buffer.alloc(1_000) }],
  ...changes,
});

test("push encoder - equal pushes share their bytes, others do not", () => {
  const encode = createPushEncoder();
  const bytes = encode(pushOf("one"));
  assert.equal(encode(pushOf("one")), bytes);
  assert.deepEqual(ConnectResponse.decode(bytes).message, { $case: "push", value: pushOf("one") });
  const removals = [{ namespace: "n", name: "b" }];
  for (const other of [pushOf("two"), pushOf("one", { id: 2n }), pushOf("one", { removals })]) {
    assert.deepEqual(ConnectResponse.decode(encode(other)).message, { $case: "push", value: other });
  }
});

test("push encoder - keeps so many bytes and no more, the newest first", () => {
  const encode = createPushEncoder(2_500);
  const [first, second] = [encode(pushOf("first")), encode(pushOf("second"))];
  assert.equal(encode(pushOf("first")), first);
  encode(pushOf("third"));
  assert.equal(encode(pushOf("second")), second);
  assert.notEqual(encode(pushOf("first")), first);
  const huge = pushOf("huge", { upserts: [{ name: undefined, content: Buffer.alloc(3_000) }] });
  assert.notEqual(encode(huge), encode(huge));
});
