import type { KeyObject } from "node:crypto";
import { type Certificate, certificateFacts, parseCertificates } from "../../common/pki/certificate.ts";
import { buildChain } from "../../common/pki/chain.ts";
import { publicKeyHash } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { SigningCa } from "../issue/signing-ca.ts";

/** What istiod's answer shows. */
export type ProofOutcome =
  | {
      /** istiod signs with the intermediate that was installed. */
      readonly kind: "proved";
      /** For people: what was seen. */
      readonly evidence: string;
      readonly leafSerial: string;
      /** Milliseconds since the epoch. */
      readonly atMs: number;
    }
  /** Nothing listens there: a state, not a failure. */
  | { readonly kind: "absent"; readonly why: string }
  /** istiod answered and did not sign, or what it handed out is no chain. */
  | { readonly kind: "refused"; readonly why: string }
  /** Another CA signs, e.g. the intermediate before this one. */
  | { readonly kind: "other"; readonly issuer: string; readonly why: string };

export interface Answer {
  /** PEM texts as istiod gave them: leaf, intermediates, root file. */
  readonly chain: readonly string[];
  /** The key that the leaf must be of, public or private. */
  readonly leafKey: KeyObject;
  /** The intermediate that should have signed. */
  readonly ca: SigningCa;
  readonly nowMs: number;
}

/** Judges an answer by signatures and bytes: names can be equal in different CAs. */
export function judge({ chain, leafKey, ca, nowMs }: Answer): ProofOutcome {
  try {
    const [leaf, ...others] = parseCertificates(chain.join("\n"), "istiod's answer");
    if (!leaf || publicKeyHash(leaf.x509.publicKey) !== publicKeyHash(leafKey)) {
      return refused("istiod's answer is a certificate of another key");
    }
    return judgeLeaf(leaf, others, { ca, nowMs });
  } catch (error) {
    return refused(MeshError.from(error).message);
  }
}

function judgeLeaf(leaf: Certificate, others: readonly Certificate[], { ca, nowMs }: Expected): ProofOutcome {
  const facts = certificateFacts(leaf);
  const [intermediate, ...above] = parseCertificates(ca.chainPems.join("\n"), "the installed chain");
  if (!intermediate || !leaf.x509.verify(intermediate.x509.publicKey)) {
    const why = `istiod signed with another ca, "${facts.issuer}" with key identifier ${facts.akiHex ?? "unknown"}`;
    return { kind: "other", issuer: facts.issuer, why };
  }
  const handedOut = new Set(others.map(({ x509 }) => x509.fingerprint256));
  const missing = [intermediate, ...above].find(({ x509 }) => !handedOut.has(x509.fingerprint256));
  if (missing)
    return refused(`istiod signs with the intermediate but hands out no "${certificateFacts(missing).subject}"`);
  const { root } = buildChain(leaf, [...others, ...parseCertificates(ca.rootPem, "the installed root")]);
  const rootSha256 = certificateFacts(root).sha256Fingerprint;
  if (rootSha256 !== ca.facts.rootSha256) return refused(`istiod's chain ends in root ${rootSha256}`);
  const evidence = `istiod signed ${facts.serial} with intermediate ${ca.facts.serial}, up to root ${rootSha256}`;
  return { kind: "proved", evidence, leafSerial: facts.serial, atMs: nowMs };
}

interface Expected {
  readonly ca: SigningCa;
  readonly nowMs: number;
}

/** What a call that failed says: nobody there, or somebody who said no. */
export function judgeFailure(thrown: unknown): ProofOutcome {
  const { code, message } = MeshError.from(thrown);
  const nobody = code === "unavailable" && message.includes("ECONNREFUSED");
  return nobody ? { kind: "absent", why: message } : refused(message);
}

function refused(why: string): ProofOutcome {
  return { kind: "refused", why };
}
