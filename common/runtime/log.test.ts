import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { MeshError } from "./errors.ts";
import { createLog } from "./log.ts";

function capture(isTTY: boolean): { stream: Writable & { isTTY: boolean }; text: () => string } {
  const chunks: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk.toString());
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY }), text: () => chunks.join("") };
}

test("log - lines are json with stable names, and an error shows code, message, hint and cause", () => {
  const { stream, text } = capture(false);
  const log = createLog({ level: "info", program: "agent", stream }).child({ cluster: "cluster-1" });
  log.debug("not shown");
  log.warn("no session", {
    err: new MeshError("unavailable", "away", { hint: "start it", cause: new Error("ECONNREFUSED") }),
  });
  const line = JSON.parse(text()) as Record<string, unknown>;
  const { time, ...rest } = line;
  assert.match(String(time), /^\d{4}-\d\d-\d\dT/);
  assert.deepEqual(rest, {
    level: "warn",
    program: "agent",
    cluster: "cluster-1",
    err: { code: "unavailable", message: "away", hint: "start it", cause: "ECONNREFUSED" },
    msg: "no session",
  });
});

test("log - a secret that somebody hands in all the same is not printed", () => {
  const { stream, text } = capture(false);
  const log = createLog({ level: "debug", program: "agent", stream });
  log.info("oops", { token: "hvs.SECRET", nested: { jwt: "eyJ.SECRET", keyPem: "x" }, privateKey: "SECRET" });
  assert.ok(!text().includes("SECRET"), text());
});

test("log - a terminal gets one readable line", () => {
  const { stream, text } = capture(true);
  createLog({ level: "info", program: "server", stream }).info("serving relay", { listen: "127.0.0.1:9900" });
  assert.match(text(), /server {2}serving relay.*listen=127\.0\.0\.1:9900/);
  assert.equal(text().trimEnd().split("\n").length, 1);
});

test("log - what a peer sent neither drives the terminal nor makes a line of its own", () => {
  const { stream, text } = capture(true);
  const evil = "\u001b[2J\u001b]0;owned\u0007\u009b31m\rall is well\nerror: forged\u202e";
  const err = new MeshError("unavailable", `server: ${evil}`, { hint: evil });
  createLog({ level: "info", program: "agent", stream }).warn(evil, { version: evil, err });
  const line = stripVTControlCharacters(text());
  assert.equal(line.trimEnd().split("\n").length, 1);
  assert.doesNotMatch(line.trimEnd(), new RegExp("[\\u0000-\\u001f\\u007f-\\u009f\\u202e]"));
  assert.doesNotMatch(text(), /\[2J|owned|\]0;/);
});
