import { isKubernetesMode } from "../../common/kube/settings.ts";
import type { Clock, Random } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { Tasks } from "../../common/runtime/tasks.ts";
import type { IssuedCertificateStatus, ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { Discovery } from "../../proto/gen/discovery/v1/discovery.ts";
import type { IntentStore } from "../apply/intent-holder.ts";
import type { Admission } from "../certs/admission.ts";
import type { ClaimPod } from "../certs/link-session.ts";
import type { LinkBook } from "../certs/links.ts";
import type { OrderContext } from "../certs/orders.ts";
import type { ServingCertificateOptions } from "../certs/serving-certificate.ts";
import type { TokenReviewer } from "../certs/token-reviewer.ts";
import type { AgentConfig } from "../config.ts";
import type { IdentityHome } from "../identity/home.ts";
import type { PodBounces } from "../relay/status-diff.ts";
import type { Leadership } from "./leadership.ts";

/** Status of the certificates over all replicas of the agent. */
export interface ClusterStatus {
  /** One per certificate that is held; set on every change. */
  readonly statuses: Latest<readonly IssuedCertificateStatus[]>;
  /** These, and a last one without a name for pods that have no order. */
  readonly list: () => readonly IssuedCertificateStatus[];
  readonly tasks: Tasks;
}

/** Where the state of the agent lives: a directory of this machine, or the API server that its replicas share. */
export interface AgentHome {
  readonly intent: IntentStore;
  readonly identity: IdentityHome;
  readonly leadership: Leadership;
  /** Whose links are accepted on 9977. */
  readonly reviewer: TokenReviewer;
  readonly admission: Admission;
  readonly claim: ClaimPod;
  readonly recall: (podUid: string) => ReplicaStatus | undefined;
  readonly publishCa: ServingCertificateOptions["publish"];
  /** To be called once. */
  readonly openStatus: (book: LinkBook) => ClusterStatus;
  /** What keeps it up to date. */
  readonly tasks: Tasks;
  /** What one replica does for all of them in this home. */
  readonly leaderTasks: (statuses: ClusterStatus["statuses"]) => Tasks;
  /** Gives it back; to be called when nothing uses it any more. */
  readonly close: () => Promise<void>;
}

export interface HomeContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** What the orders of this cluster have in common. */
  readonly orders: OrderContext;
  /** The istiods of this cluster, where they are looked for. */
  readonly discovery: Latest<Discovery>;
  /** How far restarts of pods are, where this replica does them. */
  readonly podBounces: Latest<PodBounces>;
}

/** Opens the home that the configuration names; see `checkAgentConfig`. Throws for one that cannot be read. */
export async function openHome(config: AgentConfig, context: HomeContext): Promise<AgentHome> {
  if (isKubernetesMode(config)) {
    // Loaded only where it is used: the Kubernetes client costs tens of MiB.
    const { openKubernetesHome } = await import("./kubernetes-home.ts");
    return openKubernetesHome(config, context);
  }
  const { stateDir, tokenJwksFile } = config;
  if (stateDir === undefined || tokenJwksFile === undefined) {
    throw new MeshError("config_invalid", "state.dir and istiod.jwksFile are required");
  }
  const { openStandaloneHome } = await import("./standalone-home.ts");
  return openStandaloneHome({ ...config, stateDir, tokenJwksFile }, context);
}
