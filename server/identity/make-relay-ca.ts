import { createRootCa, signCertificate, type Authority } from "../../common/pki/authority.ts";
import { certificateFacts, toPem } from "../../common/pki/certificate.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { BACKDATE_MS, type ServerNames, type SigningCa } from "./relay-ca.ts";

const YEAR_MS = 365 * 86_400_000;
const LIFE_MS = 10 * YEAR_MS;
const EC = { type: "ec", curve: "P-256" } as const;

/** A certificate with its key as they are kept: the files of a TLS Secret. */
export type MadeFiles = Readonly<Record<"ca.crt" | "tls.crt" | "tls.key", string>>;

/** A new root, which signs a certificate that signs, and nothing else. */
export async function makeRoot(nowMs: number): Promise<MadeFiles> {
  const key = await generateKey(EC);
  const certificate = await createRootCa({
    subject: { commonName: "enterprise-networking-ca" },
    key,
    pathLength: 1,
    notBeforeMs: nowMs - BACKDATE_MS,
    notAfterMs: nowMs + LIFE_MS,
  });
  const pem = toPem([certificate]);
  return { "ca.crt": pem, "tls.crt": pem, "tls.key": privateKeyToPem(key) };
}

/** A new certificate below `root` that signs those of server, agents and operators. */
export async function makeSigning(root: Authority, nowMs: number): Promise<MadeFiles> {
  const key = await generateKey(EC);
  const certificate = await signCertificate({
    issuer: root,
    subject: { commonName: "enterprise-networking-signing-ca" },
    publicKey: key,
    ca: { pathLength: 0 },
    notBeforeMs: Math.max(nowMs - BACKDATE_MS, certificateFacts(root.certificate).notBeforeMs),
    notAfterMs: Math.min(nowMs + LIFE_MS, certificateFacts(root.certificate).notAfterMs),
  });
  return { "ca.crt": toPem([root.certificate]), "tls.crt": toPem([certificate]), "tls.key": privateKeyToPem(key) };
}

/** A new certificate of the server, with its chain up to and with the root. */
export async function makeServer(ca: SigningCa, names: ServerNames): Promise<MadeFiles> {
  const key = await generateKey(EC);
  const { chainPem } = await ca.signServer(key, names);
  return { "ca.crt": ca.trustBundlePem, "tls.crt": chainPem, "tls.key": privateKeyToPem(key) };
}
