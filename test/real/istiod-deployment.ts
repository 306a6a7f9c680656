/** A Deployment whose pods stand for istiod's: real objects with owner and UID that no kubelet ever runs. */
export function istiodDeployment({ namespace, serviceAccount }: { namespace: string; serviceAccount: string }): object {
  const labels = { app: "istiod" };
  const container = { name: "discovery", image: "docker.io/istio/pilot:1.31.0" };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { namespace, name: "istiod" },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { serviceAccountName: serviceAccount, containers: [container] } },
    },
  };
}
