import * as z from "zod";
import { type Certificate, parseCertificates } from "../../common/pki/certificate.ts";
import { type ErrorCode, MeshError } from "../../common/runtime/errors.ts";
import type { VaultReply } from "../vault/client.ts";
import type { VaultSession } from "../vault/session.ts";
import { signingMount } from "./paths.ts";

const pemText = z.union([z.string(), z.array(z.string()).transform((texts) => texts.join("\n"))]).nullish();
const certificateData = z.object({ certificate: pemText, ca_chain: pemText, issuing_ca: pemText });

/**
 * Every certificate of an answer: Vault's versions differ in which field holds which, and in which order. Throws
 * `vault_malformed` when there is none.
 */
export function certificatesOf({ data }: VaultReply, path: string): Certificate[] {
  const { certificate, ca_chain, issuing_ca } = certificateData.safeParse(data).data ?? {};
  const pem = [certificate, ca_chain, issuing_ca].filter((text) => typeof text === "string").join("\n");
  try {
    return parseCertificates(pem, "certificate");
  } catch (cause) {
    throw new MeshError("vault_malformed", `vault's answer to ${path} holds no readable certificate`, { cause });
  }
}

const NOT_THERE: ReadonlySet<ErrorCode> = new Set(["vault_denied", "vault_rejected", "vault_malformed"]);

/** The certificates that the mount of `caPath` publishes, for a Vault that signs without handing out its root. */
export async function publishedIssuers(caPath: string, vault: VaultSession): Promise<readonly Certificate[]> {
  const found: Certificate[] = [];
  for (const path of signingMount(caPath).issuerPaths) {
    try {
      found.push(...certificatesOf(await vault.read({ path, setting: "caPath" }), path));
    } catch (thrown) {
      if (!NOT_THERE.has(MeshError.from(thrown).code)) throw thrown;
    }
  }
  return found;
}
