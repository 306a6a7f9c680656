import assert from "node:assert/strict";
import { test } from "node:test";
import { MeshError } from "../../common/runtime/errors.ts";
import { type Log, silentLog } from "../../common/runtime/log.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { Refusals } from "./refusals.ts";

test("refusals - the same one is logged once in a while, another one at once", () => {
  const lines: unknown[] = [];
  const log: Log = { ...silentLog, warn: (_, fields) => void lines.push(fields?.["pod"]) };
  const clock = new ManualClock();
  const refusals = new Refusals(clock, log);
  const tell = (pod: string, code: "conflict" | "permission_denied" = "conflict"): void =>
    refusals.tell({ peer: `10.0.0.1:${lines.length}`, pod }, new MeshError(code, "no"));
  for (let count = 0; count < 5; count++) tell("a");
  tell("b");
  tell("a", "permission_denied");
  assert.deepEqual(lines, ["a", "b", "a"]);
  clock.advance(10 * 60_000);
  tell("a");
  assert.equal(lines.length, 4);
});

test("refusals - callers whose token tells nothing are told apart by their addresses", () => {
  const peers: unknown[] = [];
  const refusals = new Refusals(new ManualClock(), {
    ...silentLog,
    warn: (_, fields) => void peers.push(fields?.["peer"]),
  });
  for (const peer of ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "[fd00::1]:1", "[fd00::1]:2", "[fd00::2]:1"]) {
    refusals.tell({ peer }, new MeshError("unauthenticated", "token refused"));
  }
  assert.deepEqual(peers, ["10.0.0.1:1", "10.0.0.2:1", "[fd00::1]:1", "[fd00::2]:1"]);
});

test("refusals - who makes up ever new ones fills no memory, and is still told", () => {
  let told = 0;
  const refusals = new Refusals(new ManualClock(), { ...silentLog, warn: () => (told += 1) });
  const tell = (pod: number): void => refusals.tell({ peer: "", pod: String(pod) }, new MeshError("conflict", "no"));
  for (let pod = 0; pod < 300; pod++) tell(pod);
  tell(299);
  assert.equal(told, 300);
  tell(0);
  assert.equal(told, 301, "the oldest was forgotten");
});
