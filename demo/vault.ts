import { randomBytes } from "node:crypto";
import { accessSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { MeshError } from "../common/runtime/errors.ts";
import { writeFileAtomic } from "../common/runtime/files.ts";
import { freePort } from "../test/harness/ports.ts";
import type { DemoConfig } from "./config.ts";
import { untilOk } from "./http.ts";
import { bundle, type ProgramSpec, type Programs } from "./programs.ts";
import { applyVaultSetup, planVaultSetup, type VaultAccess, type VaultRoot } from "./vault-setup.ts";
import { secretDirectory, type Workspace } from "./workspace.ts";
import type { TokenReviewServer } from "./token-review.ts";

const YOUR_VAULT_MS = 5_000;

/** Where the demo's Vaults come from. */
export type VaultSource =
  | { readonly kind: "yours"; readonly address: string; readonly tokenFile: string }
  | { readonly kind: "program"; readonly path: string }
  | { readonly kind: "embedded" };

/** Throws `config_invalid` for flags that do not fit together. */
export function chooseVault({ vault, vaultTokenFile, setup, tokenReviewAddress }: DemoConfig): VaultSource {
  if (vault === undefined) {
    if (vaultTokenFile !== undefined || setup || tokenReviewAddress !== undefined) {
      const message = "--vault-token-file, --setup and --token-review-address are for a Vault of yours";
      throw new MeshError("config_invalid", message, { hint: "name it with --vault" });
    }
    const path = findProgram("vault") ?? findProgram("bao");
    return path === undefined ? { kind: "embedded" } : { kind: "program", path };
  }
  if (vaultTokenFile === undefined) {
    throw new MeshError("config_invalid", "--vault needs --vault-token-file", {
      hint: "write a token that may set up that Vault into a file",
    });
  }
  return { kind: "yours", address: vault.replace(/\/$/, ""), tokenFile: vaultTokenFile };
}

/** The first executable of that name on the PATH. */
export function findProgram(name: string): string | undefined {
  const candidates = (process.env["PATH"] ?? "").split(delimiter).map((directory) => join(directory, name));
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Which Vault it is, for people. */
export const describeVault = (source: VaultSource): string =>
  ({
    yours: "yours; what is set up in it stays there",
    program: `${source.kind === "program" ? source.path : ""} in development mode`,
    embedded: "embedded development Vault, because there is neither vault nor bao on the PATH",
  })[source.kind];

/** Starts a Vault for one cluster, or takes yours, and waits until it answers. */
export async function openVault(
  source: VaultSource,
  { cluster, programs, workspace }: { cluster: string; programs: Programs; workspace: Workspace },
  signal: AbortSignal,
): Promise<VaultAccess> {
  if (source.kind === "yours") {
    const access = { address: source.address, token: (await readFile(source.tokenFile, "utf8")).trim(), signal };
    // It runs already: to wait for it as long as for everything would only hide that it is not there.
    const patience = AbortSignal.any([signal, AbortSignal.timeout(YOUR_VAULT_MS)]);
    await untilOk(`${access.address}/v1/sys/health`, `vault at ${access.address}`, patience);
    return access;
  }
  const listen = `127.0.0.1:${await freePort()}`;
  const access = { address: `http://${listen}`, token: randomBytes(24).toString("base64url"), signal };
  const home = secretDirectory(workspace, cluster, "vault");
  const common = { name: `vault ${cluster}`, listeners: { api: listen }, whenKilled: "fail" } as const;
  await programs.start({ ...common, ...(await launch(source, { listen, home, token: access.token })) });
  await untilOk(`${access.address}/v1/sys/health`, `vault at ${access.address}`, signal);
  return access;
}

interface Launch {
  readonly listen: string;
  readonly home: string;
  readonly token: string;
}

/** The root token goes by file or environment: arguments are seen by every user of the machine. */
async function launch(
  source: Exclude<VaultSource, { kind: "yours" }>,
  { listen, home, token }: Launch,
): Promise<Pick<ProgramSpec, "command" | "args" | "env">> {
  if (source.kind === "program") {
    const env = { HOME: home, VAULT_DEV_ROOT_TOKEN_ID: token, BAO_DEV_ROOT_TOKEN_ID: token };
    const args = ["server", "-dev", "-dev-no-store-token", `-dev-listen-address=${listen}`];
    return { command: source.path, args, env };
  }
  const tokenFile = join(home, "root-token");
  await writeFileAtomic(tokenFile, token);
  return bundle("dev-vault", "--listen", listen, "--root-token-file", tokenFile);
}

/** Makes the guide's set-up. Throws `conflict` with the list of what exists, unless `overwrite` consents. */
export async function setUpVault(
  access: VaultAccess,
  {
    root,
    review,
    reviewUrl,
    overwrite,
  }: { root: VaultRoot; review: TokenReviewServer; reviewUrl: string; overwrite: boolean },
): Promise<void> {
  const existing = await planVaultSetup(access);
  if (existing.length > 0 && !overwrite) {
    throw new MeshError("conflict", `the Vault at ${access.address} has already: ${existing.join(", ")}`, {
      hint: "use a Vault without them, or let the demo change them with --setup",
    });
  }
  await applyVaultSetup(access, {
    rootBundlePem: root.bundlePem,
    kubernetes: { host: reviewUrl, caCertPem: review.caPem, reviewerJwt: review.reviewerToken },
    serviceAccountNames: ["istiod-service-account"],
  });
}
