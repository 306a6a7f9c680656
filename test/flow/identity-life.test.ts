import assert from "node:assert/strict";
import { test } from "node:test";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { connectAs, DAY_MS, enrolledAgent, openAgent, renewOver, startWorld } from "./identity-world.ts";

/** Lets what is under way come to its next wait. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test("identity life - with the server away for 29 days an agent keeps its certificate, also over a restart, and renews it then", async () => {
  await using world = await startWorld({ startMs: Date.now() - 29.5 * DAY_MS });
  const { clock } = world;
  const first = await enrolledAgent(world, "cluster-1");
  const { serial } = first.identity.current();
  const attempts = new Latest(0);
  const away = (): Promise<never> => {
    attempts.set((attempts.value ?? 0) + 1);
    return Promise.reject(new MeshError("unavailable", "the server is away"));
  };
  const days = async (identity: typeof first.identity, count: number): Promise<void> => {
    const stop = new AbortController();
    const running = identity.run(stop.signal, away);
    for (let day = 0; day < count; day++) {
      await settle();
      const before = attempts.value ?? 0;
      clock.advance(DAY_MS);
      await attempts.until((made) => made > before, AbortSignal.timeout(30_000));
    }
    await settle();
    stop.abort();
    await assert.rejects(running);
  };
  await days(first.identity, 15);
  await first.directory.close();
  const { identity, directory } = await openAgent(world, "cluster-1");
  await days(identity, 14);
  assert.ok((attempts.value ?? 0) >= 29, "it never gives up");
  assert.deepEqual([identity.current().serial, identity.status.value?.kind], [serial, "valid"]);

  const stop = new AbortController();
  const running = identity.run(stop.signal, (csr) => renewOver(world, identity.current(), csr));
  const renewed = identity.credentials.until((each) => each.serial !== serial, AbortSignal.timeout(30_000));
  clock.advance(11 * 60_000);
  await renewed;
  assert.equal(await connectAs(world, identity.current()), "cluster-1");
  const lifeMs = identity.current().notAfterMs - clock.now();
  assert.ok(lifeMs > 29 * DAY_MS, `${lifeMs / DAY_MS} days`);
  stop.abort();
  await assert.rejects(running);
  await directory.close();
});
