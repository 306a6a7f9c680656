import type { Cluster } from "./cluster.ts";
import { BOOKINFO, bookinfoReference } from "./images/foreign.ts";

export const BOOKINFO_NAMESPACE = "bookinfo";

/** The services of bookinfo, with names, accounts and port of Istio's sample, and Envoys that Istio injects. */
export async function installBookinfo(cluster: Cluster): Promise<void> {
  const labels = { "istio-injection": "enabled" };
  await cluster.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: BOOKINFO_NAMESPACE, labels } });
  await cluster.apply(...BOOKINFO.flatMap((service) => objectsOf(service, cluster.name)));
  for (const service of BOOKINFO) await cluster.untilRolledOut(BOOKINFO_NAMESPACE, `deploy/${service}-v1`);
}

/** What a workload gets for a GET, by the program `wget` of its own container. */
export function fetchFrom(cluster: Cluster, service: (typeof BOOKINFO)[number], url: string): Promise<string> {
  const ref = { namespace: BOOKINFO_NAMESPACE, pod: `deploy/${service}-v1`, container: service };
  return cluster.exec(ref, ["wget", "-q", "-O", "-", url]);
}

function objectsOf(service: (typeof BOOKINFO)[number], clusterName: string): object[] {
  const account = `bookinfo-${service}`;
  const labels = { app: service, version: "v1" };
  const metadata = (name: string, own: Record<string, string>) => ({
    name,
    namespace: BOOKINFO_NAMESPACE,
    labels: own,
  });
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: metadata(account, { account: service }) },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: metadata(service, { app: service, service }),
      spec: { ports: [{ port: 9080, name: "http" }], selector: { app: service } },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: metadata(`${service}-v1`, labels),
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: account,
            terminationGracePeriodSeconds: 1,
            containers: [
              {
                name: service,
                image: bookinfoReference(service),
                imagePullPolicy: "IfNotPresent",
                ports: [{ containerPort: 9080 }],
                env: [
                  { name: "SERVICE", value: service },
                  { name: "CLUSTER", value: clusterName },
                ],
              },
            ],
          },
        },
      },
    },
  ];
}
