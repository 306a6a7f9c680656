import { randomBytes } from "node:crypto";
import { startDevVault } from "../../dev-vault/server.ts";
import { vaultContract } from "./vault-contract.ts";

vaultContract("embedded vault", async () => {
  const rootToken = randomBytes(24).toString("base64url");
  const vault = await startDevVault({ rootToken });
  return { address: vault.address, rootToken, unsealKey: rootToken, [Symbol.asyncDispose]: () => vault.close() };
});
