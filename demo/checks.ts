import { createHash, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { MeshError } from "../common/runtime/errors.ts";
import { runCommand } from "../test/harness/command.ts";
import { handshake, type Party } from "./handshake.ts";
import { leafOf, strangersLeaf } from "./leaf.ts";
import { findProgram } from "./vault.ts";

/** One thing that was looked at by other means than the code that issued. */
export interface Check {
  readonly name: string;
  readonly passed: boolean;
  /** What was seen, or why it failed. */
  readonly detail: string;
}

/** A cluster with the directory that its istiod reads. */
export interface IssuedDirectory {
  readonly cluster: string;
  readonly directory: string;
}

/** Looks at what was installed. `rootPem` is the root that Vault was given. Never throws: a fault is a failed check. */
export async function checkAll(issued: readonly IssuedDirectory[], rootPem: string): Promise<Check[]> {
  const checks = [await check("same root in every cluster, byte for byte Vault's", () => sameRoot(issued, rootPem))];
  for (const one of issued) checks.push(await check(`chain of ${one.cluster}`, () => verifyChain(one)));
  const [first] = issued;
  const last = issued.at(-1);
  if (!first || !last) return checks;
  checks.push(await check(`mutual tls from ${first.cluster} to ${last.cluster}`, () => connectMeshes(first, last)));
  checks.push(await check(`mutual tls from ${last.cluster} to ${first.cluster}`, () => connectMeshes(last, first)));
  checks.push(await check(`no mutual tls from ${first.cluster} to a stranger`, () => refuseStranger(first)));
  return checks;
}

async function check(name: string, look: () => Promise<string>): Promise<Check> {
  try {
    return { name, passed: true, detail: await look() };
  } catch (error) {
    return { name, passed: false, detail: MeshError.from(error).message };
  }
}

const read = (directory: string, file: string): Promise<string> => readFile(join(directory, file), "utf8");

async function sameRoot(issued: readonly IssuedDirectory[], rootPem: string): Promise<string> {
  for (const { cluster, directory } of issued) {
    // No newline at the end: istiod publishes the bytes, and the guide's last diff is then empty.
    if ((await read(directory, "root-cert.pem")) !== rootPem.trimEnd()) throw wrong(`${cluster} has another root`);
  }
  return `sha256 ${createHash("sha256").update(new X509Certificate(rootPem).raw).digest("hex")}`;
}

async function verifyChain({ directory }: IssuedDirectory): Promise<string> {
  const ca = new X509Certificate(await read(directory, "ca-cert.pem"));
  const root = new X509Certificate(await read(directory, "root-cert.pem"));
  if (!ca.checkIssued(root) || !ca.verify(root.publicKey)) throw wrong("ca-cert.pem is not signed by root-cert.pem");
  if (!ca.ca) throw wrong("ca-cert.pem is no certificate authority");
  const openssl = findProgram("openssl");
  if (openssl === undefined) return "node:crypto: signature and names fit";
  const output = await runCommand(openssl, opensslVerify(directory));
  return `openssl verify: ${output.trim().split("\n").at(-1) ?? ""}`;
}

/** Arguments that verify the intermediate in `directory` with nothing but the root beside it. */
export function opensslVerify(directory: string): string[] {
  return [
    "verify",
    "-no-CApath",
    "-no-CAstore",
    "-CAfile",
    join(directory, "root-cert.pem"),
    join(directory, "ca-cert.pem"),
  ];
}

const workload = (cluster: string): string => `spiffe://cluster.local/ns/bookinfo/sa/${cluster}`;

async function partyOf({ cluster, directory }: IssuedDirectory): Promise<Party> {
  const leaf = await leafOf(directory, workload(cluster));
  return { leaf, rootPem: await read(directory, "root-cert.pem") };
}

async function connectMeshes(from: IssuedDirectory, to: IssuedDirectory): Promise<string> {
  const { protocol, clientSaw, serverSaw } = await handshake(await partyOf(from), await partyOf(to));
  if (clientSaw !== workload(to.cluster) || serverSaw !== workload(from.cluster)) {
    throw wrong(`the sides saw ${clientSaw} and ${serverSaw}`);
  }
  return `${protocol}, ${serverSaw} and ${clientSaw}`;
}

/** The negative control: without it, a handshake that verifies nothing would pass too. */
async function refuseStranger(of: IssuedDirectory): Promise<string> {
  const client = await partyOf(of);
  const stranger = { leaf: await strangersLeaf(workload(of.cluster)), rootPem: client.rootPem };
  try {
    await handshake(client, stranger);
  } catch (error) {
    // Node adds advice on its own flags, which is of no use here.
    return `refused: ${MeshError.from(error).message.replace(/;.*/, "")}`;
  }
  throw wrong("it was accepted");
}

const wrong = (message: string): MeshError => new MeshError("ca_unsound", message);
