import type { KeyObject } from "node:crypto";
import { MeshError } from "../runtime/errors.ts";
import { EXTENDED_KEY_USAGES, signCertificate } from "./authority.ts";
import { type Certificate, type CertificateFacts, certificateFacts } from "./certificate.ts";
import { isSelfSigned } from "./chain.ts";
import { generateKey, publicKeyHash } from "./keys.ts";

/** A CA as it would be handed to istiod. */
export interface CaCandidate {
  readonly certificate: Certificate;
  readonly key: KeyObject;
  /** Issuers between the certificate and the root, the nearest first. */
  readonly intermediates: readonly Certificate[];
  readonly root: Certificate;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/**
 * Proves a CA before anybody uses it: its key belongs to it; it and all above it are CAs that may sign, within path
 * lengths, valid now, each signed by the next, the last by itself; no extended key usage shuts out the TLS servers and
 * clients of a mesh; it ends no later than any above it; and a throwaway leaf that it signs verifies.
 * Throws `ca_unsound` naming the certificate and what failed.
 */
export async function checkCa(candidate: CaCandidate): Promise<void> {
  const { certificate, key, intermediates, root, nowMs } = candidate;
  const chain = [certificate, ...intermediates, root];
  const facts = chain.map(certificateFacts);
  if (publicKeyHash(certificate.x509.publicKey) !== publicKeyHash(key)) {
    throw unsound(facts[0], "the private key belongs to another certificate");
  }
  for (const [index, each] of facts.entries()) {
    checkAuthority(each, index === chain.length - 1);
    checkValidity(each, nowMs);
  }
  checkPathLengths(facts);
  checkCap(facts);
  checkSignatures(chain, facts);
  await checkThrowawayLeaf(candidate);
}

function unsound(facts: CertificateFacts | undefined, fault: string): MeshError {
  return new MeshError("ca_unsound", `certificate "${facts?.subject ?? ""}" (${facts?.serial ?? ""}): ${fault}`);
}

/** RFC 5280 wants keyUsage on every CA; an old root without it (the guide's openssl one) is trusted everywhere all the same. */
function checkAuthority(facts: CertificateFacts, isRoot: boolean): void {
  const { isCa, keyUsages, extendedKeyUsages } = facts;
  if (!isCa) throw unsound(facts, "basic constraints do not say CA:TRUE");
  if (keyUsages === undefined ? !isRoot : !keyUsages.includes("keyCertSign")) {
    throw unsound(facts, `key usage is ${keyUsages?.join(", ") ?? "absent"}, want keyCertSign`);
  }
  for (const [name, oid] of Object.entries(EXTENDED_KEY_USAGES)) {
    if (extendedKeyUsages?.includes(oid) === false) throw unsound(facts, `extended key usage excludes ${name}`);
  }
}

function checkValidity(facts: CertificateFacts, nowMs: number): void {
  const { notBeforeMs, notAfterMs } = facts;
  if (nowMs < notBeforeMs) throw unsound(facts, `not valid before ${iso(notBeforeMs)}, now ${iso(nowMs)}`);
  if (nowMs > notAfterMs) throw unsound(facts, `expired at ${iso(notAfterMs)}, now ${iso(nowMs)}`);
}

/** Only issuers count that are not self-issued (RFC 5280 4.2.1.9); the throwaway leaf does not count. */
function checkPathLengths(chain: readonly CertificateFacts[]): void {
  let below = 0;
  for (const facts of chain) {
    const { pathLength = Infinity } = facts;
    if (below > pathLength)
      throw unsound(facts, `path length ${pathLength}, but ${below} certificate authorities below it`);
    if (facts.subject !== facts.issuer) below += 1;
  }
}

/** OpenBao signs beyond its own end, and nobody trusts a leaf longer than its chain: such a CA would fail without a warning. */
function checkCap([ca, ...above]: readonly CertificateFacts[]): void {
  for (const issuer of above) {
    if (ca && ca.notAfterMs > issuer.notAfterMs) {
      throw unsound(
        ca,
        `ends ${iso(ca.notAfterMs)}, after its issuer "${issuer.subject}" at ${iso(issuer.notAfterMs)}`,
      );
    }
  }
}

function checkSignatures(chain: readonly Certificate[], facts: readonly CertificateFacts[]): void {
  for (const [index, certificate] of chain.entries()) {
    const issuer = chain[index + 1];
    const sound = issuer ? isIssuedBy(certificate, issuer) : isSelfSigned(certificate);
    const by = issuer ? `"${facts[index + 1]?.subject ?? ""}"` : "itself";
    if (!sound) throw unsound(facts[index], `not signed by ${by}`);
  }
}

function isIssuedBy({ x509 }: Certificate, issuer: Certificate): boolean {
  return x509.checkIssued(issuer.x509) && x509.verify(issuer.x509.publicKey);
}

async function checkThrowawayLeaf({ certificate, key, nowMs }: CaCandidate): Promise<void> {
  const leaf = await signCertificate({
    issuer: { certificate, key },
    subject: {},
    publicKey: await generateKey({ type: "ec", curve: "P-256" }),
    uriSans: ["spiffe://cluster.local/ns/proof/sa/throwaway"],
    extendedKeyUsages: ["serverAuth", "clientAuth"],
    notBeforeMs: nowMs,
    notAfterMs: nowMs + 60_000,
  });
  if (!isIssuedBy(leaf, certificate))
    throw unsound(certificateFacts(certificate), "a leaf signed with its key does not verify");
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
