import assert from "node:assert/strict";
import { test } from "node:test";
import type { MeshCertificateStatus, MeshStatus } from "../../common/api/discovery.ts";
import { CertificateState, IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { meshOf } from "../intent/fixtures.ts";
import { nextSessionPart, type SessionKnowledge } from "./session-part.ts";

const SINCE = "2026-01-01T00:00:00.000Z";
const REPORT = IssuedCertificateStatus.create({ state: CertificateState.CERTIFICATE_STATE_FINISHED });
const TOLD = { state: "FINISHED", detached: false } as const;
const FRESH: SessionKnowledge = {
  epoch: 2,
  held: undefined,
  refused: undefined,
  told: undefined,
  acknowledgedRemoval: undefined,
};

const next = (stored: MeshCertificateStatus | undefined, known: Partial<SessionKnowledge>, status: MeshStatus = {}) =>
  nextSessionPart(
    { ...meshOf(1), status: { ...status, ...(stored && { issuedCertificate: stored }) } },
    { ...FRESH, ...known },
  );

test("session part - what the agent holds, refused and reported stands in the Mesh, with the session's epoch", () => {
  const known = { held: { version: "aa" }, refused: { version: "bb", message: "why" }, told: { report: REPORT } };
  assert.deepEqual(next(undefined, known), {
    epoch: 2,
    acknowledgedVersion: "aa",
    rejected: "why",
    rejectedVersion: "bb",
    ...TOLD,
  });
});

test("session part - a session that knows nothing yet leaves what the one before it told, and writes nothing", () => {
  const stored = { epoch: 1, acknowledgedVersion: "aa", ...TOLD };
  assert.equal(next(stored, {}), stored);
  assert.equal(next(stored, { held: { version: "aa" }, told: { report: REPORT } }), stored);
  assert.equal(next(undefined, {}), undefined);
});

test("session part - a session that was superseded overwrites nothing", () => {
  const stored = { epoch: 3, acknowledgedVersion: "new", ...TOLD };
  assert.equal(next(stored, { held: { version: "old" }, told: { report: undefined } }), stored);
});

test("session part - what the agent holds no more and speaks of no more is taken away", () => {
  const stored = { epoch: 1, acknowledgedVersion: "aa", ...TOLD };
  assert.equal(next(stored, { held: { version: undefined }, told: { report: undefined } }), undefined);
  assert.deepEqual(next(stored, { held: { version: undefined } }), { epoch: 2, ...TOLD });
});

test("session part - a removal is acknowledged by its time, for as long as it is asked for", () => {
  const asked = { removal: { since: SINCE } };
  assert.deepEqual(next(undefined, { acknowledgedRemoval: SINCE }, asked), { epoch: 2, acknowledgedRemoval: SINCE });
  const stored = { epoch: 1, acknowledgedRemoval: SINCE };
  assert.equal(next(stored, {}, asked), stored, "another replica's word stands");
  assert.equal(next(stored, {}), undefined, "over");
  assert.equal(next(undefined, { acknowledgedRemoval: "2025-01-01T00:00:00.000Z" }, asked), undefined, "another one");
});
