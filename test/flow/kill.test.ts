import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { FlowPod } from "./cluster.ts";
import { FlowMesh, isReady, isRenewed, withTtlDays } from "./mesh.ts";
import { launchProcess } from "./program.ts";

const ROUNDS = 6;
const SEED = 20_260_101;
/** About as long as a program needs from its start to the end of its work. */
const LONGEST_MS = 1_000;

/** The same numbers in [0, 1) for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What istiod would read is one whole set, or the rest of a new one lies staged for the next start. */
async function assertNoHalfSet(pod: FlowPod): Promise<void> {
  const isWhole = await pod.ca().then(
    () => true,
    () => false,
  );
  const isEmpty = Object.keys(await pod.files()).length === 0;
  assert.ok(isWhole || isEmpty || existsSync(join(pod.directory, ".mesh-relay/staged")), pod.directory);
}

/** Runs the init container until it leaves by itself, and checks that istiod may start on what it left. */
async function startByInit(pod: FlowPod): Promise<void> {
  const init = await pod.startInit();
  assert.equal(await init.exited, 0);
  await pod.ca();
}

test("kill - any process at any moment: all converges again by itself, and istiod never starts on a half set", async () => {
  const random = seeded(SEED);
  const moment = (): Promise<void> => delay(random() * LONGEST_MS);
  await using mesh = await FlowMesh.start({ launch: launchProcess });
  const [one, two] = mesh.clusters;
  await mesh.apply();
  let [sidecar] = await Promise.all([one.pod.start(), two.pod.start()]);
  await mesh.untilReady();
  const root = (await one.pod.ca()).rootPem;

  const killServer = async (): Promise<void> => {
    await moment();
    await mesh.server.kill();
    await mesh.startServer();
  };
  const killAgent = async (): Promise<void> => {
    await moment();
    await one.agent.kill();
    await one.startAgent();
  };
  const killSidecar = async (): Promise<void> => {
    await moment();
    await sidecar.kill();
    await assertNoHalfSet(one.pod);
    if (random() < 0.5) await startByInit(one.pod);
    sidecar = await one.pod.startSidecar();
  };
  const killInit = async (round: number): Promise<void> => {
    const pod = await two.addPod(`istiod-7d9f-new-${round}`);
    const init = await pod.startInit();
    await moment();
    await init.kill();
    await assertNoHalfSet(pod);
    await startByInit(pod);
  };

  for (let round = 0; round < ROUNDS; round++) {
    const before = [await one.pod.ca(), await two.pod.ca()] as const;
    await mesh.apply(withTtlDays(10 + round));
    await Promise.all([killServer(), killAgent(), killSidecar(), killInit(round)]);
    await mesh.status(`converged after round ${round} of seed ${SEED}`, (view) => {
      return isReady(view) && isRenewed("cluster-1", before[0])(view) && isRenewed("cluster-2", before[1])(view);
    });
    assert.equal((await one.pod.ca()).rootPem, root);
  }
});
