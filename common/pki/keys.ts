import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import { MeshError } from "../runtime/errors.ts";

/** What key to make. `bits` of RSA; EC is P-256, which istiod and Envoy both take. */
export type KeySpec =
  { readonly type: "ec"; readonly curve: "P-256" } | { readonly type: "rsa"; readonly bits: 2048 | 3072 | 4096 };

const generate = promisify(generateKeyPair);

/** Makes a private key on a worker thread: an RSA key of 4096 bits takes seconds, and the event loop goes on. */
export async function generateKey(spec: KeySpec): Promise<KeyObject> {
  const pair =
    spec.type === "ec"
      ? await generate("ec", { namedCurve: spec.curve })
      : await generate("rsa", { modulusLength: spec.bits });
  return pair.privateKey;
}

/**
 * Reads the first private key of a PEM text: PKCS8, PKCS1 or SEC1, not encrypted, RSA or EC.
 * Throws `invalid_argument`, whose message and cause hold nothing of the text.
 */
export function loadPrivateKey(pem: string, name = "private key"): KeyObject {
  const block = PRIVATE_KEY.exec(pem)?.[0];
  if (block === undefined)
    throw new MeshError("invalid_argument", `${name}: no pem private key in ${pem.length} characters`);
  let key: KeyObject;
  try {
    key = createPrivateKey(block);
  } catch {
    throw new MeshError("invalid_argument", `${name}: not an unencrypted pkcs8, pkcs1 or sec1 key`);
  }
  const type = key.asymmetricKeyType;
  if (type !== "rsa" && type !== "ec") {
    throw new MeshError("invalid_argument", `${name}: key type ${type ?? "unknown"}, want rsa or ec`);
  }
  return key;
}

const PRIVATE_KEY = /-----BEGIN (?<label>[A-Z ]*PRIVATE KEY)-----[^-]*-----END \k<label>-----/;

/** PKCS8 PEM with a final newline. It is a secret: key files are 0600. */
export function privateKeyToPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }) as string;
}

/** SHA-256 of the SubjectPublicKeyInfo, lower-case hex; takes a private key or a public one. Equal for the same pair. */
export function publicKeyHash(key: KeyObject): string {
  return createHash("sha256").update(publicKeyDer(key)).digest("hex");
}

/** DER of the SubjectPublicKeyInfo of a private or a public key. */
export function publicKeyDer(key: KeyObject): Buffer {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return publicKey.export({ type: "spki", format: "der" });
}
