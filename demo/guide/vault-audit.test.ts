import assert from "node:assert/strict";
import { test } from "node:test";
import { answersOf } from "./vault-audit.ts";

const line = (type: string, time: string, id: string, path = "auth/kubernetes/login"): string =>
  JSON.stringify({ type, time, request: { id, path, operation: "update" } });

test("guide vault audit - an answer's time is from its request to its response, to the microsecond", () => {
  const log = [
    line("response", "2026-01-01T00:00:00Z", "before the log began"),
    line("request", "2026-01-01T00:00:00.9999Z", "a"),
    line("request", "2026-01-01T00:00:01Z", "b", "pki/root/sign-intermediate"),
    line("response", "2026-01-01T00:00:01.0009Z", "a"),
    line("response", "2026-01-01T00:00:03.5Z", "b", "pki/root/sign-intermediate"),
    line("request", "2026-01-01T00:00:04Z", "under way"),
    "",
  ].join("\n");
  const found = answersOf(log).map(({ path, tookMs }) => [path, Math.round(tookMs * 1000) / 1000]);
  assert.deepEqual(found, [
    ["auth/kubernetes/login", 1],
    ["pki/root/sign-intermediate", 2500],
  ]);
});
