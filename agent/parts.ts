import { readFile } from "node:fs/promises";
import type { Clock, Random } from "../common/runtime/clock.ts";
import type { Log } from "../common/runtime/log.ts";
import type { StateDirectory } from "../common/runtime/state-directory.ts";
import { Dialer } from "../common/session/client.ts";
import { IntentHolder } from "./apply/intent-holder.ts";
import { JwtTokenReviewer } from "./certs/jwt-token-reviewer.ts";
import { KubernetesTokenReviewer } from "./certs/kubernetes-token-reviewer.ts";
import { LinkBook } from "./certs/links.ts";
import type { VaultOverrides } from "./certs/orders.ts";
import type { TokenReviewer } from "./certs/token-reviewer.ts";
import type { AgentConfig } from "./config.ts";
import { AgentIdentity } from "./identity/agent-identity.ts";
import type { AgentCredentials } from "./identity/documents.ts";
import { defaultEnrollmentAddress } from "./identity/options.ts";
import { RelayClient } from "./relay/relay-client.ts";
import { fileIntentStore } from "./store/intent-store.ts";

/** The rooms of the agent, wired to each other and not yet running. */
export interface AgentParts {
  readonly identity: AgentIdentity;
  readonly intent: IntentHolder;
  readonly book: LinkBook;
  readonly relay: RelayClient;
  readonly reviewer: TokenReviewer;
}

export interface PartsOptions {
  readonly config: AgentConfig;
  readonly directory: StateDirectory;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A replica that left is forgotten after this time, once its certificate has expired too. */
const FORGET_REPLICA_MS = 60 * 60_000;

/** Opens the rooms bottom-up from the state directory. Throws `state_corrupt` and faults of the files it is given. */
export async function openParts({ config, directory, clock, random, log }: PartsOptions): Promise<AgentParts> {
  const { cluster, authority, tokenFile, trustPin, trustBundleFile } = config;
  const address = config.enrollmentAddress ?? defaultEnrollmentAddress(config.serverAddress);
  const enrollment = { address, authority, tokenFile, trustPin, trustBundleFile };
  const identity = await AgentIdentity.open({ directory, cluster, enrollment, clock, random, log });
  const intent = await IntentHolder.open(fileIntentStore(directory));
  const book = new LinkBook({
    held: intent.certificates,
    context: { cluster, vault: await vaultOverrides(config) },
    forgetAfterMs: FORGET_REPLICA_MS,
    clock,
  });
  const dial = (credentials: AgentCredentials): Dialer => dialServer(config, credentials);
  const relay = new RelayClient({ clock, random, log, identity, intent, statuses: book.statuses, dial });
  return { identity, intent, book, relay, reviewer: await tokenReviewer(config, clock) };
}

function dialServer({ serverAddress, authority }: AgentConfig, credentials: AgentCredentials): Dialer {
  const { trustBundlePem: rootsPem, keyPem, certificatePem } = credentials;
  return new Dialer({
    address: serverAddress,
    authority,
    peer: `management server ${serverAddress}`,
    tls: { rootsPem, identity: { keyPem, certificatePem }, minVersion: "TLSv1.3" },
  });
}

async function tokenReviewer(config: AgentConfig, clock: Clock): Promise<TokenReviewer> {
  const { tokenJwksFile: jwksFile, tokenKubeconfig, tokenIssuer: issuer } = config;
  if (jwksFile !== undefined) return new JwtTokenReviewer({ jwksFile, issuer, clock });
  // Loaded only where it is used: the Kubernetes client costs tens of MiB.
  const { tokenReviewClient } = await import("../common/kube/token-review.ts");
  return new KubernetesTokenReviewer(tokenReviewClient(tokenKubeconfig));
}

async function vaultOverrides(config: AgentConfig): Promise<VaultOverrides> {
  const { vaultServer: server, vaultNamespace: namespace, vaultMountPath: mountPath, vaultCaBundleFile } = config;
  const caBundle = vaultCaBundleFile === undefined ? undefined : await readFile(vaultCaBundleFile, "utf8");
  return { server, namespace, mountPath, caBundle };
}
