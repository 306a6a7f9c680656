import { BOOKINFO_NAMESPACE as namespace } from "./bookinfo.ts";
import type { Cluster } from "./cluster.ts";
import { REFERENCES } from "./images/foreign.ts";

/** A pod each with a sidecar, by every kind of controller that makes a new pod for one that is gone; and one by none. */
const CONTROLLED = [
  ["apps/v1", "StatefulSet", "set"],
  ["apps/v1", "DaemonSet", "daemon"],
  ["v1", "ReplicationController", "controller"],
] as const;

/** Labels `app` of what is restarted. */
export const MORE_WORKLOADS: readonly string[] = CONTROLLED.map(([, , name]) => name);
/** Name and label of the pod that nobody would replace. */
export const BARE_POD = "bare";

/** Adds them beside bookinfo, with a second pod of `reviews`, and waits until all are ready. */
export async function addWorkloads(cluster: Cluster): Promise<void> {
  await scaleReviews(cluster, 2);
  await cluster.apply(
    ...CONTROLLED.map(([apiVersion, kind, name]) => {
      const labels = { app: name };
      const template = { metadata: { labels, annotations: LITTLE }, spec: podSpec() };
      const selector = apiVersion === "v1" ? labels : { matchLabels: labels };
      const more = kind === "StatefulSet" ? { serviceName: name } : {};
      return { apiVersion, kind, metadata: { name, namespace }, spec: { selector, template, ...more } };
    }),
    {
      ...{ apiVersion: "v1", kind: "Pod" },
      metadata: { name: BARE_POD, namespace, labels: { app: BARE_POD }, annotations: LITTLE },
      spec: podSpec(),
    },
  );
  await cluster.untilRolledOut(namespace, "deploy/reviews-v1");
  const all = ["--selector", `app in (${[...MORE_WORKLOADS, BARE_POD].join()})`, "--namespace", namespace];
  for (const condition of ["create", "condition=Ready"]) {
    await cluster.kubectl(["wait", "pod", `--for=${condition}`, ...all, "--timeout=120s"], { timeoutMs: 125_000 });
  }
}

/** Takes them away. */
export async function removeWorkloads(cluster: Cluster): Promise<void> {
  const kinds = [...CONTROLLED.map(([, kind, name]) => `${kind.toLowerCase()}/${name}`), `pod/${BARE_POD}`];
  await cluster.kubectl(["delete", ...kinds, "--namespace", namespace, "--ignore-not-found"]);
  await scaleReviews(cluster, 1);
}

const scaleReviews = (cluster: Cluster, replicas: number): Promise<string> =>
  cluster.kubectl(["scale", "deployment", "reviews-v1", "--namespace", namespace, `--replicas=${replicas}`]);

/** A node of two processors has no room for what Envoy would ask for in each. */
const LITTLE = { "sidecar.istio.io/proxyCPU": "10m" };

const podSpec = (): object => ({
  terminationGracePeriodSeconds: 1,
  containers: [
    { name: "sleep", image: REFERENCES.busybox, imagePullPolicy: "IfNotPresent", command: ["sleep", "86400"] },
  ],
});
