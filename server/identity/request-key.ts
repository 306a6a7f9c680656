import type { KeyObject } from "node:crypto";
import { readCsr } from "../../common/pki/csr.ts";
import { MeshError } from "../../common/runtime/errors.ts";

const ALLOWED_CURVES = ["prime256v1", "secp384r1"];
const MIN_RSA_BITS = 2048;

/** The key of a proper request; everything else in it is ignored. Throws `invalid_argument`. */
export async function readRequestKey(csrPem: string): Promise<KeyObject> {
  const { publicKey } = await readCsr(csrPem);
  const { namedCurve = "", modulusLength = 0 } = publicKey.asymmetricKeyDetails ?? {};
  if (ALLOWED_CURVES.includes(namedCurve) || modulusLength >= MIN_RSA_BITS) return publicKey;
  const found = namedCurve || `${publicKey.asymmetricKeyType ?? "unknown"} ${modulusLength}`;
  throw new MeshError("invalid_argument", `csr: key ${found}, want p-256, p-384 or rsa of ${MIN_RSA_BITS} bits`);
}
