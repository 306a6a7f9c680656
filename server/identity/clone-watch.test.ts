import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../../common/runtime/log.ts";
import { CloneWatch } from "./clone-watch.ts";

function watch() {
  const told: unknown[] = [];
  const clones = new CloneWatch({ ...silentLog, warn: (_, fields) => void told.push(fields?.["possibleClone"]) });
  const began = (...instances: string[]): number => {
    for (const instance of instances) clones.sessionBegan({ cluster: "cluster-1", peer: "10.1.2.3:4", instance });
    return clones.sightings.get("cluster-1") ?? 0;
  };
  return { began, told };
}

test("clone watch - an agent that reconnects, restarts or moves to another process is no clone", () => {
  const { began, told } = watch();
  assert.equal(began("a", "a", "b", "b", "c"), 0);
  assert.deepEqual(told, []);
});

test("clone watch - two that take turns are one, at each turn", () => {
  const { began, told } = watch();
  assert.equal(began("a", "b"), 0);
  assert.equal(began("a"), 1);
  assert.equal(began("b", "a"), 3);
  assert.deepEqual(told, [true, true, true]);
});

test("clone watch - processes without end, with names without end, fill no memory", () => {
  const { began } = watch();
  for (let count = 0; count < 1_000; count++) began(`${count}`.padStart(100_000, "x"));
  assert.equal(began("first"), 0);
});
