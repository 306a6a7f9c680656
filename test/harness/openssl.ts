import { readFile } from "node:fs/promises";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { ensureTools } from "../tools/build.ts";
import { runCommand } from "./command.ts";
import { temporaryFolder } from "./folder.ts";

/** What this file needs, for `skipWithout`. */
export const OPENSSL_TOOLS = ["openssl"] as const;

const CA_EXTENSIONS = [
  "basicConstraints=critical,CA:TRUE",
  "keyUsage=critical,keyCertSign,cRLSign",
  "subjectKeyIdentifier=hash",
  "authorityKeyIdentifier=keyid",
].join("\n");

/** PEM texts. */
export interface KeyAndCertificate {
  readonly key: string;
  readonly certificate: string;
}

/** PEM texts. */
export interface KeyAndRequest {
  readonly key: string;
  readonly csr: string;
}

/** A self-signed root, as the guide makes its own. Certificates here are made by openssl, so by nothing of ours. */
export async function opensslRoot(commonName: string): Promise<KeyAndCertificate> {
  await using folder = await temporaryFolder();
  const [key, certificate] = [folder.file("key.pem"), folder.file("certificate.pem")];
  const subject = ["-subj", `/CN=${commonName}`, "-days", "30"];
  await openssl(["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject, "-keyout", key, "-out", certificate]);
  return { key: await readFile(key, "utf8"), certificate: await readFile(certificate, "utf8") };
}

/** A new key and a request for it. */
export async function opensslRequest(commonName: string): Promise<KeyAndRequest> {
  await using folder = await temporaryFolder();
  const [key, csr] = [folder.file("key.pem"), folder.file("csr.pem")];
  await openssl([
    "req",
    "-new",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-subj",
    `/CN=${commonName}`,
    "-keyout",
    key,
    "-out",
    csr,
  ]);
  return { key: await readFile(key, "utf8"), csr: await readFile(csr, "utf8") };
}

/** An intermediate CA below `root`. */
export async function opensslIntermediate(root: KeyAndCertificate, commonName: string): Promise<KeyAndCertificate> {
  await using folder = await temporaryFolder();
  const { key, csr } = await opensslRequest(commonName);
  const inputs = { csr, "root.key": root.key, "root.pem": root.certificate, extensions: CA_EXTENSIONS };
  for (const [name, text] of Object.entries(inputs)) await writeFileAtomic(folder.file(name), text);
  const authority = ["-CA", folder.file("root.pem"), "-CAkey", folder.file("root.key"), "-CAcreateserial"];
  const extensions = ["-extfile", folder.file("extensions"), "-days", "20"];
  return { key, certificate: await openssl(["x509", "-req", "-in", folder.file("csr"), ...authority, ...extensions]) };
}

/** Resolves when `chain` (PEM, leaf first) ends in `root` by the judgement of openssl; throws its words otherwise. */
export async function opensslVerify(chain: readonly string[], root: string): Promise<void> {
  await using folder = await temporaryFolder();
  await writeFileAtomic(folder.file("leaf"), chain[0] ?? "");
  await writeFileAtomic(folder.file("chain"), chain.join("\n"));
  await writeFileAtomic(folder.file("root"), root);
  const trust = ["-no-CApath", "-no-CAstore", "-CAfile", folder.file("root")];
  await openssl(["verify", ...trust, "-untrusted", folder.file("chain"), folder.file("leaf")]);
}

/** What `openssl x509` prints of a certificate when given these options, such as `-serial`. */
export async function opensslX509(certificate: string, ...options: readonly string[]): Promise<string> {
  return (await openssl(["x509", "-noout", ...options], certificate)).trim();
}

/** A private key in both its forms: as `openssl pkey` writes it, and as `openssl pkey -traditional` does. */
export async function opensslKeyForms(key: string): Promise<string[]> {
  return [await openssl(["pkey"], key), await openssl(["pkey", "-traditional"], key)];
}

async function openssl(args: readonly string[], stdin = ""): Promise<string> {
  const tools = await ensureTools(OPENSSL_TOOLS);
  return runCommand(tools.openssl, args, { stdin });
}
