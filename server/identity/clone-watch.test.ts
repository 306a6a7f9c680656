import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../../common/runtime/log.ts";
import { CloneWatch, takeTurn, type Turns } from "./clone-watch.ts";

/** At which of these sessions, one after the other, a clone is seen. */
function seenAt(...instances: string[]): number[] {
  let before: Turns = [];
  return instances.flatMap((instance, at) => {
    const { turns, isClone } = takeTurn(before, instance);
    before = turns;
    return isClone ? [at] : [];
  });
}

test("clone watch - an agent that reconnects, restarts or moves to another process is no clone", () => {
  assert.deepEqual(seenAt("a", "a", "b", "b", "b", "c", "c", "c", "c"), []);
});

test("clone watch - a frozen leader that comes back once, and the one that takes over from it again, are no clone", () => {
  assert.deepEqual(seenAt("frozen", "leader", "frozen", "leader", "leader", "next", "next"), []);
});

test("clone watch - two that take turns are one, from the third turn of one at each", () => {
  assert.deepEqual(seenAt("a", "b", "a", "b", "a", "b", "b", "a"), [4, 5, 7]);
});

test("clone watch - three that take turns are seen, and an agent beside a clone that starts anew each time", () => {
  assert.deepEqual(seenAt("a", "b", "c", "a", "b", "c", "a"), [6]);
  assert.deepEqual(seenAt("a", "b1", "a", "b2", "a", "b3"), [4]);
});

test("clone watch - once the clone is gone the agent is not one, whatever it does", () => {
  assert.deepEqual(seenAt("a", "b", "a", "b", "a", "a", "a", "c", "c", "d"), [4]);
});

test("clone watch - processes without end, with names without end, fill no memory", () => {
  let turns: Turns = [];
  for (let count = 0; count < 1_000; count++) ({ turns } = takeTurn(turns, `${count}`.padStart(100_000, "x")));
  for (let count = 0; count < 1_000; count++) ({ turns } = takeTurn(turns, `${count}`.padEnd(100_000, "x")));
  assert.ok(turns.join().length < 100, turns.join());
});

test("clone watch - both ways to see one are counted by cluster, and turns are logged", () => {
  const told: unknown[] = [];
  const sighted: string[] = [];
  const clones = new CloneWatch({ ...silentLog, warn: (_, fields) => void told.push(fields) });
  clones.onSighted(({ cluster, what, hint }) => void sighted.push(`${cluster}: ${what}; ${hint}`));
  clones.tookTurns({ cluster: "cluster-1", peer: "10.1.2.3:4" });
  clones.certificateRefused("cluster-1");
  clones.certificateRefused("cluster-2");
  assert.deepEqual(
    [...clones.sightings],
    [
      ["cluster-1", 2],
      ["cluster-2", 1],
    ],
  );
  assert.deepEqual(told, [{ cluster: "cluster-1", peer: "10.1.2.3:4", possibleClone: true }]);
  assert.equal(sighted.length, 3);
  assert.match(
    sighted[0] ?? "",
    /^cluster-1: two agents take turns .*; meshctl cluster revoke cluster-1, then a new token/,
  );
  assert.match(sighted[2] ?? "", /^cluster-2: a certificate was shown .* --renew-token$/);
});
