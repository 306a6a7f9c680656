import assert from "node:assert/strict";
import { test } from "node:test";
import type { PodIdentity, TokenReviewer } from "../../agent/certs/token-reviewer.ts";
import { MeshError } from "../../common/runtime/errors.ts";

/** A reviewer with the authority whose tokens it knows: keys of our own, or a real API server. */
export interface ReviewedAuthority extends AsyncDisposable {
  readonly reviewer: TokenReviewer;
  /** The pod that `podToken` binds to; it exists. */
  readonly pod: Omit<PodIdentity, "expiresAtMs">;
  podToken(audience: string): Promise<string>;
  /** A token of the same account that is bound to no pod. */
  unboundToken(audience: string): Promise<string>;
}

const OURS = "enterprise-agent";

/** What every TokenReviewer does, whoever stands behind it. */
export function tokenReviewerContract(
  name: string,
  start: () => Promise<ReviewedAuthority>,
  options: { readonly skip?: string | false } = {},
): void {
  test(`token reviewer - ${name}: tells the pod, account and expiry of a pod-bound token`, options, async () => {
    await using authority = await start();
    const { expiresAtMs, user: _, ...pod } = await authority.reviewer.review(await authority.podToken(OURS));
    assert.deepEqual(pod, authority.pod);
    assert.ok(expiresAtMs > Date.now() + 60_000, `expires at ${new Date(expiresAtMs).toISOString()}`);
  });

  test(
    `token reviewer - ${name}: refuses what is not a pod-bound token for us, and repeats none of it`,
    options,
    async () => {
      await using authority = await start();
      const sound = await authority.podToken(OURS);
      const [header = "", payload = "", signature = ""] = sound.split(".");
      const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
      const refusals: Record<string, string> = {
        "another audience": await authority.podToken("istio-ca"),
        "no pod": await authority.unboundToken(OURS),
        "a changed payload": `${header}.${changeClaims(payload)}.${signature}`,
        "no signature": `${none}.${payload}.`,
        "a cut signature": `${header}.${payload}.${signature.slice(0, -8)}`,
        "no token at all": "not-a-token",
        "far too long": "x".repeat(100_000),
      };
      for (const [what, token] of Object.entries(refusals)) {
        await assert.rejects(authority.reviewer.review(token), (error) => {
          assert.ok(error instanceof MeshError, `${what}: ${String(error)}`);
          assert.equal(error.code, "unauthenticated", `${what}: ${error.message}`);
          const parts = token.split(".").filter((part) => part.length > 8);
          assert.ok(!parts.some((part) => error.message.includes(part)), `${what}: the message repeats the token`);
          return true;
        });
      }
      await authority.reviewer.review(sound);
    },
  );
}

function changeClaims(payload: string): string {
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<string, unknown>;
  return Buffer.from(JSON.stringify({ ...claims, exp: Number(claims["exp"]) + 3600 })).toString("base64url");
}
