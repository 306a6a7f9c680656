import { after, before, describe, test } from "node:test";
import { AUTH_CASES } from "./vault-cases-auth.ts";
import { PKI_CASES } from "./vault-cases-pki.ts";
import { SEAL_CASES, SETUP_CASES, SYSTEM_CASES } from "./vault-cases-system.ts";
import { VaultSubject, type VaultUnderTest } from "./vault-subject.ts";

export type { VaultUnderTest } from "./vault-subject.ts";

/**
 * What this product relies on of Vault, as one suite that every Vault must pass, the real one and the embedded one
 * alike: statuses, shapes, texts of errors and warnings.
 */
export function vaultContract(
  name: string,
  start: () => Promise<VaultUnderTest>,
  { skip = false }: { skip?: string | false } = {},
): void {
  describe(name, { skip }, () => {
    let vault: VaultSubject;
    before(async () => {
      vault = await VaultSubject.start(start);
    });
    after(() => vault[Symbol.asyncDispose]());
    // The set-up comes first because the others stand on it, the seal last because it stops everything.
    const cases = { ...SETUP_CASES, ...SYSTEM_CASES, ...AUTH_CASES, ...PKI_CASES, ...SEAL_CASES };
    for (const [sentence, run] of Object.entries(cases)) test(`${name} - ${sentence}`, () => run(vault));
  });
}
