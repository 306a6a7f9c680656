/** Pods with the real istiod-agent that are not istiod's. */
import { parse } from "yaml";
import type { Cluster } from "./cluster.ts";
import { ourReference } from "./images/ours.ts";
import { NAMESPACE } from "./install.ts";
import { shipped } from "./istiod.ts";

/** A pod, and whom it runs as. */
export interface Stranger {
  readonly name: string;
  readonly namespace: string;
  readonly account: string;
}

/** On all that is made here, so that it can be found and taken away. */
export const LABELS = { test: "strangers" } as const;

/** A pod of nobody with the init container that istiod's pods are given: it sees to its credentials itself. */
export async function shippedPod(stranger: Stranger): Promise<object> {
  const patch = parse(await shipped("istiod-patch.yaml")) as Patch;
  return podOf(stranger, patch.spec.template.spec.initContainers, []);
}

interface Patch {
  readonly spec: { readonly template: { readonly spec: { readonly initContainers: readonly object[] } } };
}

/** Where the token comes from, as a source of a projected volume. It lies under the path `TOKEN` there. */
export type TokenSource =
  | { readonly serviceAccountToken: { readonly audience: string; readonly path: typeof TOKEN } }
  | { readonly secret: { readonly name: string } };

export const TOKEN = "enterprise-agent-token";

/** A pod whose istiod-agent shows a token of somebody's choice. All it needs lies in files, so it needs no right. */
export function podWithToken(stranger: Stranger, token: TokenSource): object {
  const args = ["init-container", `--agent-ca-file=${FILES}/ca.pem`, `--service-account-dir=${FILES}`];
  const mounts = [
    { name: "cacerts", mountPath: "/etc/cacerts" },
    { name: "files", mountPath: FILES },
  ];
  const image = { image: ourReference("istiod-agent"), imagePullPolicy: "IfNotPresent" };
  const container = { name: "istiod-agent-init", ...image, args, volumeMounts: mounts };
  const projected = { defaultMode: 0o444, sources: [token, { configMap: { name: AGENT_CA } }] };
  return podOf(stranger, [container], [{ name: "files", projected }]);
}

/** A ConfigMap of what verifies the agent, which `podWithToken` needs in its own namespace. */
export async function agentCaIn(cluster: Cluster, namespace: string): Promise<object> {
  const published = ["configmap", "enterprise-agent-ca", "--namespace", NAMESPACE];
  const { data } = await cluster.get<{ readonly data: Readonly<Record<string, string>> }>(...published);
  const metadata = { name: AGENT_CA, namespace, labels: LABELS };
  return { apiVersion: "v1", kind: "ConfigMap", metadata, data: { "ca.pem": Object.values(data).join("\n") } };
}

const AGENT_CA = "agent-ca-for-strangers";
const FILES = "/var/run/stranger";

function podOf({ name, namespace, account }: Stranger, containers: readonly object[], volumes: readonly object[]) {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: LABELS },
    spec: {
      serviceAccountName: account,
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 0,
      containers,
      volumes: [{ name: "cacerts", emptyDir: { medium: "Memory" } }, ...volumes],
    },
  };
}
