import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createRootCa, signCertificate, type Authority } from "../common/pki/authority.ts";
import { parseCertificate, parseCertificates, toPem } from "../common/pki/certificate.ts";
import { generateKey, loadPrivateKey, privateKeyToPem } from "../common/pki/keys.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const HOUR_MS = 3_600_000;

/** A workload's certificate as istiod would sign it, PEM. */
export interface Leaf {
  readonly key: string;
  /** The leaf, then the chain without the root. */
  readonly cert: string;
}

/** Signs a leaf with the CA that lies in `directory`, with the key in it. */
export async function leafOf(directory: string, spiffeId: string): Promise<Leaf> {
  const read = (file: string): Promise<string> => readFile(join(directory, file), "utf8");
  const issuer = {
    certificate: parseCertificate(await read("ca-cert.pem"), "ca-cert.pem"),
    key: loadPrivateKey(await read("ca-key.pem"), "ca-key.pem"),
  };
  const { key, cert } = await signLeaf(issuer, spiffeId);
  return { key, cert: cert + toPem(parseCertificates(await read("cert-chain.pem"), "cert-chain.pem")) };
}

/** A leaf with the same name as another's, below a root that nobody trusts. */
export async function strangersLeaf(spiffeId: string): Promise<Leaf> {
  const key = await generateKey(EC);
  const certificate = await createRootCa({ subject: { organization: "my-org" }, key, ...validity() });
  return signLeaf({ certificate, key }, spiffeId);
}

async function signLeaf(issuer: Authority, spiffeId: string): Promise<Leaf> {
  const key = await generateKey(EC);
  const certificate = await signCertificate({
    issuer,
    subject: {},
    publicKey: key,
    uriSans: [spiffeId],
    extendedKeyUsages: ["serverAuth", "clientAuth"],
    ...validity(),
  });
  return { key: privateKeyToPem(key), cert: toPem([certificate]) };
}

const validity = () => ({ notBeforeMs: Date.now() - 1_000, notAfterMs: Date.now() + HOUR_MS });
