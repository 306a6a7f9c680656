/** What to look at when a step fails, by its name. */
export const HINTS: Readonly<Record<string, string>> = {
  crds: "do both contexts answer? kubectl --context … get nodes",
  server: "kubectl get pods -n gloo-mesh, and kubectl logs deployment/enterprise-networking: are the images at hand?",
  address: "is there a load balancer? else give --load-balancer with an address that leads to the first cluster's node",
  "register-1": "registered before? add --renew-token, or meshctl cluster deregister cluster-1 first",
  "register-2":
    "registered before? add --renew-token; else see whether the second cluster's pods reach the relay's address",
  vault: "set up before? Vault refuses to enable twice what is there: go on with --from virtual-mesh",
  rbac: "kubectl get ns istio-system: the roles are made in istiod's namespace, which must be there",
  version: "is jq on the PATH, and does the context have the server?",
  istiod: "kubectl get pods -n istio-system, and kubectl logs -n istio-system deploy/istiod -c istiod-agent-init",
  ready: "meshctl status, and kubectl get virtualmesh,issuedcertificate -n gloo-mesh: the problem stands there",
  diff: "istiod writes the ConfigMap seconds after it has taken the new root; kubectl get cm istio-ca-root-cert -n bookinfo",
};
