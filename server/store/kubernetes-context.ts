import type { KubeClient } from "../../common/kube/client.ts";
import type { HomeContext } from "./home.ts";

/** What everything that works on the API server shares. */
export interface ApiServerContext extends HomeContext {
  readonly client: KubeClient;
  /** The one namespace of our objects. */
  readonly namespace: string;
  /** Aborted when the home is closed: for work that nobody else can stop. */
  readonly stop: AbortSignal;
}
