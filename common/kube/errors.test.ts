import assert from "node:assert/strict";
import { test } from "node:test";
import { connectionError, httpStatusOf, isExpired, isTlsFault, refusalError } from "./errors.ts";

test("kube errors - an answer that refuses keeps the API server's words, its status and its wait", () => {
  const body = { message: 'meshes is forbidden: User "a" cannot list', details: { retryAfterSeconds: 3 } };
  const denied = refusalError("list meshes", 403, body);
  assert.deepEqual(
    [denied.code, denied.message, denied.retriable, denied.retryAfterMs, httpStatusOf(denied)],
    [
      "permission_denied",
      'api server refused to list meshes: meshes is forbidden: User "a" cannot list (403)',
      false,
      3_000,
      403,
    ],
  );
  assert.match(denied.hint ?? "", /grant/);
  const codes = [400, 401, 404, 409, 410, 418, 422, 429, 500, 503, 504].map((each) => refusalError("x", each, "").code);
  assert.deepEqual(codes, [
    ...["invalid_argument", "unauthenticated", "not_found", "conflict", "failed_precondition", "internal"],
    ...["invalid_argument", "resource_exhausted", "unavailable", "unavailable", "deadline_exceeded"],
  ]);
  assert.deepEqual([isExpired(refusalError("x", 410, null)), isExpired(denied)], [true, false]);
  assert.ok(refusalError("x", 500, { message: "y".repeat(10_000) }).message.length < 600);
});

test("kube errors - a refused eviction names the budget that refuses it", () => {
  const causes = [{ reason: "DisruptionBudget", message: "The disruption budget b needs 1 healthy pods and has 1" }];
  const body = { message: "Cannot evict pod.", details: { causes } };
  const error = refusalError("evict pod p", 429, body);
  assert.equal(
    error.message,
    "api server refused to evict pod p: Cannot evict pod. The disruption budget b needs 1 healthy pods and has 1 (429)",
  );
});

test("kube errors - of a request without an answer only what the system says of the connection is told", () => {
  const system = (code: string, message: string) =>
    new TypeError("fetch failed", { cause: Object.assign(new Error(message), { code }) });
  const refused = connectionError("list meshes", system("ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:1"));
  assert.deepEqual(
    [refused.code, refused.message, refused.retriable],
    ["unavailable", "no connection to the api server to list meshes: connect ECONNREFUSED 127.0.0.1:1", true],
  );
  const header = new TypeError('Headers.append: "Bearer s3cret\n" is an invalid header value.');
  for (const thrown of [header, Object.assign(new Error("Bearer s3cret"), { request: { token: "s3cret" } })]) {
    const error = connectionError("list meshes", thrown);
    assert.equal(error.code, "unavailable");
    assert.ok(!JSON.stringify([error.message, error.stack, error.cause, error.hint]).includes("s3cret"));
  }
  const untrusted = system("DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate");
  assert.match(connectionError("x", untrusted).hint ?? "", /certificate authority/);
  assert.deepEqual([isTlsFault(untrusted), isTlsFault(system("ECONNRESET", "reset"))], [true, false]);
  assert.equal(connectionError("x", new DOMException("late", "TimeoutError")).code, "deadline_exceeded");
});
