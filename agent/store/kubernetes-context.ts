import type { KubeClient } from "../../common/kube/client.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import type { Latest } from "../../common/runtime/latest.ts";
import type { Owner } from "./certificate-object.ts";
import type { HomeContext } from "./home.ts";

/** What everything that works on the API server shares. */
export interface KubernetesContext extends Pick<HomeContext, "clock" | "random" | "log"> {
  readonly client: KubeClient;
  /** Whose objects the agent writes. */
  readonly owner: Owner;
  /** Name of this replica. */
  readonly replica: string;
}

/** The IssuedCertificates of the agent's namespace by `refKey`, as this replica has heard of them. */
export type CertificateObjects = Latest<ReadonlyMap<string, KubeObject>>;

/** Writes what is one for all replicas. */
export const FIELD_MANAGER = "enterprise-agent";

/** Writes what is this replica's alone; the API server takes 128 characters. */
export const replicaManager = (replica: string): string => `${FIELD_MANAGER}-${replica}`.slice(0, 128);
