import assert from "node:assert/strict";
import { test } from "node:test";
import { MeshError } from "../../common/runtime/errors.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { CachedCredential, type Fetched } from "./cached-credential.ts";

const { signal } = new AbortController();
const away = new MeshError("unavailable", "the api server is away");

/** A credential whose source gives these answers in turn. */
function cached(...answers: (Fetched | Error)[]) {
  const clock = new ManualClock(0);
  const fetch = async (): Promise<Fetched> => {
    const answer = answers.shift() ?? assert.fail("asked once too often");
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { clock, credential: new CachedCredential({ name: "a token", fetch, clock }) };
}

const token = (text: string, lifeMs = 3_600_000): Fetched => ({ text, lifeMs });

test("cached credential - it is kept for half of its life, and then replaced", async () => {
  const { clock, credential } = cached(token("one"), token("two"));
  assert.equal(await credential.read(signal), "one");
  clock.advance(1_799_999);
  assert.equal(await credential.read(signal), "one");
  clock.advance(1);
  assert.equal(await credential.read(signal), "two");
});

test("cached credential - while no new one is to be had, the old one is used to its end and not beyond", async () => {
  const { clock, credential } = cached(token("one"), away, away);
  await credential.read(signal);
  clock.advance(3_589_999);
  assert.equal(await credential.read(signal), "one");
  clock.advance(1);
  await assert.rejects(credential.read(signal), away);
});

test("cached credential - one that was refused is not shown again, and one without an end only goes so", async () => {
  const { clock, credential } = cached(token("one", Infinity), away, token("two"));
  await credential.read(signal);
  clock.advance(10 ** 12);
  assert.equal(await credential.read(signal), "one");
  credential.forget();
  await assert.rejects(credential.read(signal), away);
  assert.equal(await credential.read(signal), "two");
});
