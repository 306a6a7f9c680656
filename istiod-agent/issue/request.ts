import type { KeyObject } from "node:crypto";
import * as z from "zod";
import { createCsr } from "../../common/pki/csr.ts";
import { generateKey, type KeySpec, loadPrivateKey } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { VaultSession } from "../vault/session.ts";
import type { IssueOrder } from "./order.ts";
import { exportingMount } from "./paths.ts";

/** A key and the request for its certificate. */
export interface SigningRequest {
  readonly key: KeyObject;
  readonly csrPem: string;
  readonly warnings: readonly string[];
  /** Removes what making the request left in Vault; resolves with what could not be removed. */
  cleanUp(): Promise<readonly string[]>;
}

const exported = z.object({ csr: z.string().min(1), private_key: z.string().min(1), key_id: z.string().min(1) });

/** Makes key and request where the order wants it: in Vault when it has a `csrPath`, else here. */
export async function makeRequest(order: IssueOrder, vault: VaultSession): Promise<SigningRequest> {
  const { csrPath } = order.vault;
  return csrPath === undefined ? makeHere(order) : makeInVault(order, vault, csrPath);
}

async function makeHere({ key: spec, organization, commonName, hosts }: IssueOrder): Promise<SigningRequest> {
  const key = await generateKey(spec);
  const csrPem = await createCsr({ key, commonName, uriSans: hosts, ...(organization ? { organization } : {}) });
  return { key, csrPem, warnings: [], cleanUp: () => Promise.resolve([]) };
}

async function makeInVault(order: IssueOrder, vault: VaultSession, csrPath: string): Promise<SigningRequest> {
  const mount = exportingMount(csrPath);
  const reply = await vault.write({ path: csrPath, setting: "csrPath" }, { ...names(order), ...keyType(order.key) });
  const parsed = exported.safeParse(reply.data);
  if (!parsed.success) {
    const missing = parsed.error.issues.map(({ path }) => path.join(".")).join(", ");
    throw new MeshError("vault_malformed", `vault's answer to ${csrPath} lacks ${missing}`, {
      hint: "set csrPath to a path that exports the key, or remove it: then the key is made in the pod",
    });
  }
  return {
    key: loadPrivateKey(parsed.data.private_key, "private_key of vault's answer"),
    csrPem: parsed.data.csr,
    warnings: reply.warnings,
    cleanUp: () => deleteKey(vault, `${mount}/key/${parsed.data.key_id}`),
  };
}

/** Vault stores every key that it exports and never tidies them; a copy that stays can be read by others. */
async function deleteKey(vault: VaultSession, path: string): Promise<readonly string[]> {
  try {
    await vault.delete({ path, setting: "policy" });
    return [];
  } catch (thrown) {
    const { code } = MeshError.from(thrown);
    return [
      `ExportedKeyKept: vault keeps a copy of the private key at ${path} (${code}); ` +
        `allow the role to delete it, or remove csrPath: then the key is made in the pod`,
    ];
  }
}

/** The subject and names as Vault's parameters; it takes them from here, not from the request. */
export function names({ commonName, organization, hosts }: IssueOrder): Readonly<Record<string, unknown>> {
  return {
    common_name: commonName,
    exclude_cn_from_sans: true,
    ...(organization ? { organization } : {}),
    ...(hosts.length > 0 ? { uri_sans: hosts.join(",") } : {}),
  };
}

function keyType(key: KeySpec): Readonly<Record<string, unknown>> {
  return key.type === "ec" ? { key_type: "ec", key_bits: 256 } : { key_type: "rsa", key_bits: key.bits };
}
