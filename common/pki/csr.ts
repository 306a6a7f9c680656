import { createPublicKey, type KeyObject } from "node:crypto";
import { MeshError } from "../runtime/errors.ts";
import {
  readSubjectAltNames,
  type Subject,
  subjectAltNameExtension,
  type SubjectAltNames,
  subjectName,
} from "./names.ts";
import { toSigningKey } from "./signing-key.ts";
import {
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
} from "./x509.ts";

export interface CsrRequest extends Subject, Partial<SubjectAltNames> {
  /** The private key to be certified. */
  readonly key: KeyObject;
}

/** What a signing request asks for. Its signature was verified: the sender holds the private key. */
export interface Csr extends SubjectAltNames {
  readonly subject: Subject;
  readonly publicKey: KeyObject;
}

/** A PKCS10 request in PEM, with a final newline, signed by `key`. */
export async function createCsr({ key, organization, commonName, ...names }: CsrRequest): Promise<string> {
  const { keys, algorithm } = toSigningKey(key);
  const san = subjectAltNameExtension(names);
  const csr = await Pkcs10CertificateRequestGenerator.create({
    name: subjectName({ ...(organization ? { organization } : {}), ...(commonName ? { commonName } : {}) }),
    keys,
    signingAlgorithm: algorithm,
    extensions: san ? [san] : [],
  });
  return `${csr.toString("pem")}\n`;
}

/** Reads a PKCS10 request and verifies its signature. Throws `invalid_argument` for anything else. */
export async function readCsr(pem: string): Promise<Csr> {
  const block = CSR.exec(pem)?.[0];
  if (block === undefined) throw new MeshError("invalid_argument", `csr: no pem request in ${pem.length} characters`);
  let csr: Csr;
  let verified: boolean;
  try {
    const parsed = new Pkcs10CertificateRequest(block);
    verified = await parsed.verify();
    csr = toCsr(parsed);
  } catch (cause) {
    throw new MeshError("invalid_argument", "csr: not a pkcs10 request", { cause });
  }
  if (!verified) throw new MeshError("invalid_argument", "csr: the signature does not verify with the key in it");
  return csr;
}

const CSR = /-----BEGIN (?<label>(?:NEW )?CERTIFICATE REQUEST)-----[^-]*-----END \k<label>-----/;
const SUBJECT_ALT_NAME = "2.5.29.17";

function toCsr(parsed: Pkcs10CertificateRequest): Csr {
  const [organization] = parsed.subjectName.getField("O");
  const [commonName] = parsed.subjectName.getField("CN");
  const san = parsed.getExtension(SUBJECT_ALT_NAME);
  return {
    subject: { ...(organization ? { organization } : {}), ...(commonName ? { commonName } : {}) },
    publicKey: createPublicKey({ key: Buffer.from(parsed.publicKey.rawData), format: "der", type: "spki" }),
    ...readSubjectAltNames(san === null ? null : new SubjectAlternativeNameExtension(san.rawData)),
  };
}
