import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { systemClock } from "../../common/runtime/clock.ts";
import type { MeshError } from "../../common/runtime/errors.ts";
import { tokenReviewerContract } from "./token-reviewer-contract.ts";
import { FakeServiceAccounts, type FakeTokenRequest } from "../fakes/service-accounts.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { JwtTokenReviewer } from "../../agent/certs/jwt-token-reviewer.ts";

const POD = {
  podName: "istiod-7d9f-abcde",
  podUid: "11111111-2222-4333-8444-555555555555",
  podNamespace: "istio-system",
  serviceAccount: "istiod-service-account",
};

async function setUp() {
  const folder = await temporaryFolder();
  const accounts = await FakeServiceAccounts.create();
  const jwksFile = folder.file("jwks.json");
  await writeFile(jwksFile, JSON.stringify(await accounts.jwks()));
  const reviewer = new JwtTokenReviewer({ jwksFile, issuer: accounts.issuer, clock: systemClock });
  return { accounts, reviewer, jwksFile, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

tokenReviewerContract("JWKS file", async () => {
  const { accounts, ...rest } = await setUp();
  const claims = { "kubernetes.io": { namespace: POD.podNamespace, serviceaccount: { name: POD.serviceAccount } } };
  return {
    ...rest,
    pod: POD,
    podToken: (audience) => accounts.sign({ audience }),
    unboundToken: (audience) => accounts.sign({ audience, claims }),
  };
});

test("jwt reviewer - refuses tokens out of time, of another issuer and with claims at odds", async () => {
  await using set = await setUp();
  const audience = "enterprise-agent";
  const nowMs = Date.now();
  const cases: [RegExp, FakeTokenRequest][] = [
    [/has expired/, { audience, issuedAtMs: nowMs - 7_200_000, expiresAtMs: nowMs - 60_000 }],
    [/claim nbf is not the one wanted/, { audience, issuedAtMs: nowMs + 60_000 }],
    [/claim iss is not the one wanted/, { audience, claims: { iss: "https://elsewhere.example" } }],
    [/claim exp is missing/, { audience, claims: { exp: undefined } }],
    [/another service account/, { audience, claims: { sub: "system:serviceaccount:istio-system:other" } }],
    [/another service account/, { audience, claims: { sub: "system:node:one" } }],
  ];
  for (const [reason, request] of cases) {
    await assert.rejects(set.reviewer.review(await set.accounts.sign(request)), reason);
  }
  await set.reviewer.review(await set.accounts.sign({ audience, expiresAtMs: nowMs - 2_000 }));
});

test("jwt reviewer - a token signed with the public key as if it were a shared secret is refused", async () => {
  await using set = await setUp();
  const [, payload = ""] = (await set.accounts.sign({ audience: "enterprise-agent" })).split(".");
  const header = Buffer.from(JSON.stringify({ alg: "HS256" })).toString("base64url");
  const mac = createHmac("sha256", await readFile(set.jwksFile))
    .update(`${header}.${payload}`)
    .digest("base64url");
  await assert.rejects(set.reviewer.review(`${header}.${payload}.${mac}`), /must be signed with one of RS256/);
});

test("jwt reviewer - rotated keys are in force at once, and a missing key set is no refusal", async () => {
  await using set = await setUp();
  const old = await set.accounts.sign({ audience: "enterprise-agent" });
  await set.reviewer.review(old);
  const next = await FakeServiceAccounts.create();
  await writeFile(set.jwksFile, JSON.stringify(await next.jwks()));
  await assert.rejects(set.reviewer.review(old), /no key of its issuer matches/);
  await set.reviewer.review(await next.sign({ audience: "enterprise-agent" }));
  await rm(set.jwksFile);
  await assert.rejects(set.reviewer.review(old), (error: MeshError) => error.code === "unavailable" && error.retriable);
});
