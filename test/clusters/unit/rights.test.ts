import assert from "node:assert/strict";
import { test } from "node:test";
import type { Question } from "../../real/chart-rights.ts";
import type { AuditedRequest } from "../audit.ts";
import { unusedRights } from "../rights.ts";

const NAMED: Question = { user: "a/b", verb: "create", resource: "secrets", name: "s", namespace: "a" };
const UNNAMED: Question = { user: "a/b", verb: "create", resource: "secrets", namespace: "a" };
const EVERYWHERE: Question = { user: "a/b", verb: "create", resource: "secrets" };
const RIGHTS = [EVERYWHERE, UNNAMED, NAMED];
const request = (changes: Partial<AuditedRequest>): AuditedRequest => ({
  ...{ user: "a/b", verb: "create", group: "", resource: "secrets", namespace: "a", isAllowed: true },
  ...changes,
});

test("rights - a request counts for the narrowest right that covers it, and for that one alone", () => {
  for (const [changes, used] of [
    [{ name: "s" }, NAMED],
    [{ name: "other" }, UNNAMED],
    [{}, UNNAMED],
    [{ name: "s", namespace: "elsewhere" }, EVERYWHERE],
  ] as const) {
    const left = RIGHTS.filter((right) => right !== used);
    assert.deepEqual(unusedRights(RIGHTS, [request(changes)]), left);
  }
});

test("rights - what was refused, or another's request, uses none", () => {
  const others = [
    ...[request({ isAllowed: false }), request({ user: "a/c" }), request({ verb: "get" })],
    ...[request({ resource: "secrets/status" }), request({ group: "apps" })],
  ];
  assert.deepEqual(unusedRights(RIGHTS, others), RIGHTS);
});
