import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { StateDirectory } from "../../common/runtime/state-directory.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { Epochs } from "./epochs.ts";
import { RateLimit } from "./rate-limit.ts";

describe("rate limit", () => {
  test("rate limit - lets a burst through, then the rate, and says when to come back", () => {
    const clock = new ManualClock();
    const limit = new RateLimit({ clock, perSecond: 2, burst: 3, what: "calls" });
    const burst = () => {
      for (let count = 0; ; count++) {
        try {
          limit.take("a");
        } catch (error) {
          assert.deepEqual(
            [(error as { code: string }).code, (error as { retryAfterMs: number }).retryAfterMs],
            ["resource_exhausted", 500],
          );
          return count;
        }
      }
    };
    assert.equal(burst(), 3);
    limit.take("b");
    clock.advance(1000);
    assert.equal(burst(), 2);
    clock.advance(3_600_000);
    assert.equal(burst(), 3);
  });

  test("rate limit - an attack from many addresses does not free one that is active", () => {
    const limit = new RateLimit({ clock: new ManualClock(), perSecond: 0.001, burst: 1, what: "calls" });
    limit.take("attacker");
    for (let address = 0; address < 30_000; address++) {
      limit.take(`10.0.${address >> 8}.${address & 255}`);
      if (address % 1000 === 0) assert.throws(() => limit.take("attacker"), { code: "resource_exhausted" });
    }
  });
});

describe("epochs", () => {
  test("epochs - rise without repeating, over restarts and among concurrent sessions", async () => {
    const path = await mkdtemp(join(tmpdir(), "epochs-"));
    after(() => rm(path, { recursive: true }));
    const seen: bigint[] = [];
    for (let start = 0; start < 3; start++) {
      const directory = await StateDirectory.open(path, { program: "enterprise-networking" });
      const epochs = await Epochs.open(directory);
      seen.push(...(await Promise.all(Array.from({ length: 50 }, () => epochs.next()))));
      await directory.close();
    }
    assert.deepEqual(
      seen,
      [...new Set(seen)].sort((a, b) => Number(a - b)),
    );
    assert.equal(seen.length, 150);
  });
});
