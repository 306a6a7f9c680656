import { createPublicKey, type KeyObject, type webcrypto } from "node:crypto";
import { MeshError } from "../runtime/errors.ts";

/** A key as WebCrypto wants it for signing, and the algorithm it signs with. */
export interface SigningKey {
  readonly keys: CryptoKeyPair;
  readonly algorithm: EcdsaParams;
}

interface Suite {
  readonly name: string;
  readonly namedCurve?: string;
  readonly hash: string;
}

const CURVES: Readonly<Record<string, Suite>> = {
  prime256v1: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  secp384r1: { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  secp521r1: { name: "ECDSA", namedCurve: "P-521", hash: "SHA-512" },
};
const RSA: Suite = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

/** Turns a private key into what @peculiar/x509 signs with. Throws `invalid_argument` for other types than RSA and NIST curves. */
export function toSigningKey(key: KeyObject): SigningKey {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const suite = key.asymmetricKeyType === "rsa" ? RSA : CURVES[curve ?? ""];
  if (suite === undefined) {
    throw new MeshError(
      "invalid_argument",
      `key of type ${key.asymmetricKeyType ?? "unknown"} ${curve ?? ""} cannot sign certificates`,
    );
  }
  const algorithm = suite as webcrypto.HmacImportParams;
  return {
    keys: {
      privateKey: key.toCryptoKey(algorithm, false, ["sign"]),
      publicKey: createPublicKey(key).toCryptoKey(algorithm, true, ["verify"]),
    },
    algorithm: { name: suite.name, hash: suite.hash },
  };
}
