import { vaultContract } from "../contract/vault-contract.ts";
import { skipWithout } from "../harness/needs.ts";
import { startVault, vaultTools } from "../harness/vault.ts";
import { eventually } from "../harness/wait.ts";

vaultContract(
  "real vault",
  async () => {
    const vault = await startVault();
    // Printed by a Vault in development mode some time after it is ready, and nowhere else to be had.
    const printed = async () => /Unseal Key: (?<key>\S+)/.exec(await vault.process.log())?.groups?.["key"];
    const unsealKey = await eventually("unseal key printed", printed);
    const { address, rootToken } = vault;
    return { address, rootToken, unsealKey, [Symbol.asyncDispose]: () => vault[Symbol.asyncDispose]() };
  },
  { skip: skipWithout(vaultTools()) },
);
