import { MeshError } from "../runtime/errors.ts";
import { type Certificate, type CertificateFacts, certificateFacts } from "./certificate.ts";

/** The way from a certificate up to a self-signed root; the certificate itself stands in neither. */
export interface Chain {
  /** The certificate's issuer first, up to but without the root; empty when the root itself is the issuer. */
  readonly intermediates: readonly Certificate[];
  readonly root: Certificate;
}

/**
 * Finds the issuers of `certificate` among `pool`, by name, key identifiers and signature, never by position. Of several
 * ways the shortest is taken, and of equal ones that over the issuer that lives longest. Duplicates, loops and the
 * certificate itself in the pool do no harm. Validity and usages are not checked: `checkCa` does that.
 * Throws `ca_unsound` naming the certificate whose issuer is missing.
 */
export function buildChain(certificate: Certificate, pool: readonly Certificate[]): Chain {
  const start = node(certificate);
  const candidates = pool.map(node).sort((a, b) => b.facts.notAfterMs - a.facts.notAfterMs);
  const seen = new Set([start.facts.sha256Fingerprint]);
  const paths: Node[][] = [[start]];
  let highest = start;
  for (let path = paths.shift(); path !== undefined; path = paths.shift()) {
    const last = path.at(-1) ?? start;
    highest = last;
    for (const issuer of candidates) {
      if (seen.has(issuer.facts.sha256Fingerprint) || !issued(issuer, last)) continue;
      if (isSelfSigned(issuer.certificate)) {
        return { intermediates: path.slice(1).map((step) => step.certificate), root: issuer.certificate };
      }
      seen.add(issuer.facts.sha256Fingerprint);
      paths.push([...path, issuer]);
    }
  }
  const { subject, issuer } = highest.facts;
  throw new MeshError(
    "ca_unsound",
    `issuer "${issuer}" of "${subject}" is not among the ${pool.length} certificates at hand`,
  );
}

/** True when the certificate is signed by its own key: the top of a chain. */
export function isSelfSigned({ x509 }: Certificate): boolean {
  return x509.issuer === x509.subject && x509.verify(x509.publicKey);
}

interface Node {
  readonly certificate: Certificate;
  readonly facts: CertificateFacts;
}

function node(certificate: Certificate): Node {
  return { certificate, facts: certificateFacts(certificate) };
}

function issued(issuer: Node, subject: Node): boolean {
  const { skiHex } = issuer.facts;
  const { akiHex } = subject.facts;
  return (
    issuer.facts.subject === subject.facts.issuer &&
    (skiHex === undefined || akiHex === undefined || skiHex === akiHex) &&
    subject.certificate.x509.verify(issuer.certificate.x509.publicKey)
  );
}
