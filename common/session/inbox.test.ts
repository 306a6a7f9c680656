import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { Inbox } from "./inbox.ts";

const objects = () => new PassThrough({ objectMode: true, highWaterMark: 4 });

test("inbox - hands over messages in order and ends when the peer does", async () => {
  const call = objects();
  const inbox = new Inbox<number>(call);
  const first = inbox.next();
  for (const number of [1, 2, 3]) call.write(number);
  call.end();
  const read = [(await first).value];
  for await (const number of inbox) read.push(number);
  assert.deepEqual(read, [1, 2, 3]);
});

test("inbox - leaving early does not tear the call down", async () => {
  const call = objects();
  const inbox = new Inbox<number>(call);
  call.write(1);
  for await (const number of inbox) if (number === 1) break;
  assert.equal(call.destroyed, false);
  call.end();
});

test("inbox - a reader that does not come holds the peer back, and one that comes gets all", async () => {
  const call = objects();
  const inbox = new Inbox<number>(call);
  let written = 0;
  const write = (): void => {
    while (written < 100 && call.write(++written));
    if (written === 100) call.end();
  };
  call.on("drain", write);
  write();
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(written < 40, `${written} written`);
  const read: number[] = [];
  for await (const number of inbox) read.push(number);
  assert.deepEqual(read.slice(-2), [99, 100]);
  assert.equal(read.length, 100);
});

test("inbox - a call that is cut off is no end, whether its reader waits or comes later", async () => {
  const call = objects();
  const inbox = new Inbox<number>(call);
  const waiting = assert.rejects(inbox.next(), { code: "canceled" });
  call.destroy();
  await waiting;
  await assert.rejects(inbox.next(), { code: "canceled" });
});
