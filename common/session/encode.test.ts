import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectRequest } from "../../proto/gen/relay/v1/relay.ts";
import { encodeMessage } from "./encode.ts";

const hello = (agentVersion: string): ConnectRequest => ({
  message: { $case: "hello", value: { agentVersion, instanceId: "i", capabilities: [], held: [] } },
});

test("encode - every message has bytes of its own, whatever was encoded before and after", () => {
  const sizes = [10, 100_000, 3, 5_000, 0];
  const encoded = sizes.map((size) => encodeMessage(ConnectRequest, hello("v".repeat(size))));
  for (const [index, size] of sizes.entries()) {
    const message = hello("v".repeat(size));
    assert.deepEqual(encoded[index], Buffer.from(ConnectRequest.encode(message).finish()));
  }
});

test("encode - a message that cannot be encoded leaves nothing behind for the next", () => {
  const broken = hello("whole") as { message: { value: { held: unknown } } };
  broken.message.value.held = [{ type: "t", digest: 5 }];
  assert.throws(() => encodeMessage(ConnectRequest, broken as ConnectRequest));
  assert.deepEqual(
    encodeMessage(ConnectRequest, hello("next")),
    Buffer.from(ConnectRequest.encode(hello("next")).finish()),
  );
});
