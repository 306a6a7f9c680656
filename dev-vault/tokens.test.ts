import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { goDuration, Fields, shortDuration } from "./fields.ts";
import { type TokenSpec, TokenStore } from "./tokens.ts";

const SPEC: TokenSpec = {
  policies: ["default"],
  displayName: "test",
  path: "auth/token/create",
  meta: null,
  ttlS: 3600,
  maxTtlS: 0,
  explicitMaxTtlS: 0,
  periodS: 0,
  renewable: true,
  entityId: "",
};

function storeAt(startMs: number) {
  const time = { nowMs: startMs };
  const clock = { now: () => time.nowMs, sleep: () => Promise.resolve() };
  return { time, tokens: new TokenStore(clock, "root") };
}

describe("tokens", () => {
  test("tokens - one is found until its life is over, and the root token for ever", () => {
    const { time, tokens } = storeAt(0);
    const { token } = tokens.create(SPEC);
    time.nowMs = 3_599_999;
    assert.equal(tokens.find(token.id), token);
    assert.equal(tokens.ttlS(token), 0);
    time.nowMs = 3_600_000;
    assert.equal(tokens.find(token.id), undefined);
    time.nowMs = 1e15;
    assert.deepEqual(tokens.find("root")?.policies, ["root"]);
  });

  test("tokens - renewal never leads past the longest life, and says so", () => {
    const { time, tokens } = storeAt(0);
    const { token } = tokens.create({ ...SPEC, maxTtlS: 7200 });
    time.nowMs = 3_000_000;
    assert.deepEqual([tokens.renew(token, undefined).ttlS, tokens.renew(token, 60).ttlS], [3600, 60]);
    time.nowMs = 6_000_000;
    const { ttlS, warnings } = tokens.renew(token, 1800);
    assert.equal(ttlS, 1200);
    assert.deepEqual(warnings, [
      'TTL of "30m" exceeded the effective max_ttl of "20m"; TTL value is capped accordingly',
    ]);
    assert.throws(() => tokens.renew({ ...token, renewable: false }, 1), { message: "lease is not renewable" });
  });

  test("tokens - a periodic one is renewed without end, unless an explicit maximum ends it", () => {
    const { time, tokens } = storeAt(0);
    const { token } = tokens.create({ ...SPEC, periodS: 600 });
    const { token: bounded } = tokens.create({ ...SPEC, periodS: 600, explicitMaxTtlS: 900 });
    time.nowMs = 500_000;
    assert.equal(tokens.renew(bounded, 9999).ttlS, 400);
    time.nowMs = 1e12;
    assert.equal(tokens.renew(token, 9999).ttlS, 600);
  });

  test("tokens - revoking one takes all its descendants and spares the others", () => {
    const { tokens } = storeAt(0);
    const { token: parent } = tokens.create(SPEC);
    const { token: child } = tokens.create({ ...SPEC, parent });
    const { token: grandchild } = tokens.create({ ...SPEC, parent: child });
    const { token: orphan } = tokens.create(SPEC);
    tokens.revoke(parent);
    assert.deepEqual(
      [parent, child, grandchild, orphan].map(({ id }) => tokens.find(id) !== undefined),
      [false, false, false, true],
    );
  });
});

describe("fields", () => {
  test("fields - values come in every form that Vault takes", () => {
    const fields = new Fields({ n: 90, t: "1h30m", d: "365d", l: "a, b", j: ["a", "b"], f: "true", e: "", s: "90" });
    assert.deepEqual(
      ["n", "t", "d", "s", "e"].map((name) => fields.seconds(name)),
      [90, 5400, 31_536_000, 90, undefined],
    );
    assert.deepEqual([fields.list("l"), fields.list("j"), fields.list("e")], [["a", "b"], ["a", "b"], undefined]);
    assert.deepEqual([fields.flag("f"), fields.flag("n"), fields.flag("e")], [true, false, undefined]);
    assert.throws(() => fields.integer("t"), /^Error: Field validation failed: .*"t": strconv/);
    assert.throws(() => new Fields({ x: "1w" }).seconds("x"), /time: invalid duration "1w"/);
  });

  test("fields - durations are printed as Go prints them", () => {
    assert.deepEqual([5, 90, 3600, 2_764_800].map(goDuration), ["5s", "1m30s", "1h0m0s", "768h0m0s"]);
    assert.deepEqual([5, 90, 1800, 3600, 5400, 5401].map(shortDuration), [
      "5s",
      "1m30s",
      "30m",
      "1h",
      "1h30m",
      "1h30m1s",
    ]);
  });
});
