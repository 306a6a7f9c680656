import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectRequest } from "../../proto/gen/relay/v1/relay.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { readHello } from "./hello.ts";

const SILENCE: AsyncIterator<ConnectRequest> = { next: () => new Promise(() => undefined) };

test("hello - who says nothing is sent away after ten seconds", async () => {
  const clock = new ManualClock(0);
  const hello = readHello(SILENCE, clock, new AbortController().signal);
  clock.advance(10_000);
  await assert.rejects(hello, { code: "deadline_exceeded" });
});

test("hello - who has left is not waited for, even where his stream never ends", async () => {
  const call = new AbortController();
  const hello = readHello(SILENCE, new ManualClock(0), call.signal);
  call.abort(new MeshError("canceled", "gone"));
  await assert.rejects(hello, { code: "canceled" });
});
