import type { ToolName } from "../tools/registry.ts";
import { INSIDE, type ClusterPlan } from "./plan.ts";

/** What runs on a node beside its pods, in the order in which it is started. */
export const PROGRAMS = [
  "etcd",
  "kube-apiserver",
  "containerd",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
  "coredns",
] as const satisfies readonly ToolName[];

export type ProgramName = (typeof PROGRAMS)[number];

/** Names of the files that the programs share, as they see them. */
export const FILES = {
  kubeconfig: `${INSIDE}/kubeconfig`,
  ca: `${INSIDE}/certs/apiserver.crt`,
  tokens: `${INSIDE}/tokens.csv`,
  signingKey: `${INSIDE}/token-signing.key`,
  signingPublicKey: `${INSIDE}/token-signing.pub`,
  auditPolicy: `${INSIDE}/audit.yaml`,
  containerd: `${INSIDE}/containerd.toml`,
  containerdSocket: `${INSIDE}/containerd.sock`,
  kubelet: `${INSIDE}/kubelet.yaml`,
  kubeProxy: `${INSIDE}/kube-proxy.yaml`,
  corefile: `${INSIDE}/Corefile`,
  cni: `${INSIDE}/cni`,
  /** What pods get as the resolvers of their node: none. */
  resolvers: `${INSIDE}/resolv.conf`,
} as const;

/** Where etcd answers, inside the node. */
export const ETCD_URL = "http://127.0.0.1:2379";

/** Issuer claim of the tokens. */
const ISSUER = "https://kubernetes.default.svc";

/** Where the API server answers, for host and pods alike. */
export const apiServerUrl = ({ nodeAddress }: ClusterPlan): string => `https://${nodeAddress}:6443`;

/** Pure: the arguments of each program. */
export function argumentsOf(program: ProgramName, plan: ClusterPlan): string[] {
  const { nodeAddress, nodeName, serviceRange } = plan;
  const asAdministrator = ["--kubeconfig", FILES.kubeconfig];
  switch (program) {
    case "etcd":
      return [
        ...["--data-dir", `${INSIDE}/etcd`, "--unsafe-no-fsync", "--log-level", "warn"],
        ...["--listen-client-urls", ETCD_URL, "--advertise-client-urls", ETCD_URL],
      ];
    case "kube-apiserver":
      return [
        ...["--etcd-servers", ETCD_URL, "--bind-address", nodeAddress, "--advertise-address", nodeAddress],
        ...["--secure-port", "6443", "--cert-dir", `${INSIDE}/certs`, "--token-auth-file", FILES.tokens],
        ...["--service-account-issuer", ISSUER, "--service-account-key-file", FILES.signingPublicKey],
        ...["--service-account-signing-key-file", FILES.signingKey, "--authorization-mode", "Node,RBAC"],
        ...["--service-cluster-ip-range", serviceRange, "--allow-privileged"],
        ...["--kubelet-preferred-address-types", "InternalIP"],
        ...["--audit-policy-file", FILES.auditPolicy, "--audit-log-path", `${INSIDE}/${AUDIT_LOG}`],
      ];
    case "containerd":
      return ["--config", FILES.containerd];
    case "kube-controller-manager":
      return [
        ...[...asAdministrator, "--leader-elect=false", "--secure-port", "0", "--root-ca-file", FILES.ca],
        ...["--service-account-private-key-file", FILES.signingKey, "--controllers", "*"],
      ];
    case "kube-scheduler":
      return [...asAdministrator, "--leader-elect=false", "--secure-port", "0"];
    case "kubelet":
      return [
        ...["--config", FILES.kubelet, ...asAdministrator, "--root-dir", `${INSIDE}/kubelet`],
        ...["--cert-dir", `${INSIDE}/kubelet/pki`, "--hostname-override", nodeName, "--node-ip", nodeAddress],
      ];
    case "kube-proxy":
      return ["--config", FILES.kubeProxy];
    case "coredns":
      return ["-conf", FILES.corefile];
  }
}

/** Pure: the configuration files of a node's programs, by their path as the programs see it. */
export function configurationOf(plan: ClusterPlan): Record<string, string> {
  return {
    [FILES.auditPolicy]: JSON.stringify(auditPolicy()),
    [FILES.containerd]: containerdConfig(),
    [`${FILES.cni}/10-pods.conflist`]: JSON.stringify(podNetwork(plan)),
    [FILES.kubelet]: JSON.stringify(kubeletConfig(plan)),
    [FILES.kubeProxy]: JSON.stringify(kubeProxyConfig(plan)),
    [FILES.corefile]: corefile(plan),
    [FILES.resolvers]: "",
  };
}

/** Group of all accounts of our namespace. */
const OURS = "system:serviceaccounts:gloo-mesh";

/** Where the API server records what our programs ask of it, in the cluster's folder. */
export const AUDIT_LOG = "logs/audit.log";

/**
 * Only what our own accounts ask, and of istiod's what the istiod-agent asks; the tokens that it is given in full, so that
 * tests know what to look for elsewhere, and what the agent asks of others' rights.
 */
function auditPolicy(): object {
  const tokens = [{ group: "", resources: ["serviceaccounts/token"] }];
  const ofIstiodAgent = [
    { group: "", resources: ["secrets"] },
    { group: "", resources: ["configmaps"], resourceNames: ["enterprise-agent-ca"] },
  ];
  const accounts = ["istiod", "istiod-service-account"].map((name) => `system:serviceaccount:istio-system:${name}`);
  return {
    apiVersion: "audit.k8s.io/v1",
    kind: "Policy",
    omitStages: ["RequestReceived"],
    rules: [
      { level: "RequestResponse", userGroups: [OURS], resources: [{ group: "authorization.k8s.io" }] },
      { level: "Metadata", userGroups: [OURS] },
      { level: "RequestResponse", users: accounts, resources: tokens },
      { level: "Metadata", users: accounts, resources: ofIstiodAgent },
      { level: "None" },
    ],
  };
}

/** May not lower oom_score_adj: inside a container or an unprivileged machine the kernel refuses that to runc. */
function containerdConfig(): string {
  return `version = 2
root = "${INSIDE}/containerd/root"
state = "/run/containerd/state"
[grpc]
  address = "${FILES.containerdSocket}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "registry.k8s.io/pause:3.10"
  stream_server_address = "127.0.0.1"
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${FILES.cni}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/run/containerd/opt"
`;
}

/** Every pod's traffic is routed by the node, also that between two pods, so that the node's filters see all of it. */
function podNetwork({ cgroup, podRange }: ClusterPlan): object {
  const ipam = {
    type: "host-local",
    dataDir: `${INSIDE}/pod-addresses`,
    ranges: [[{ subnet: podRange }]],
    routes: [{ dst: "0.0.0.0/0" }],
  };
  return { cniVersion: "1.0.0", name: cgroup, plugins: [{ type: "ptp", ipMasq: false, ipam }] };
}

function kubeletConfig({ cgroup, nodeAddress }: ClusterPlan): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    failCgroupV1: false,
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${cgroup}`,
    enforceNodeAllocatable: [],
    address: nodeAddress,
    healthzBindAddress: nodeAddress,
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: "AlwaysAllow" },
    containerRuntimeEndpoint: `unix://${FILES.containerdSocket}`,
    failSwapOn: false,
    evictionHard: {},
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    podLogsDir: `${INSIDE}/pods`,
    clusterDNS: [nodeAddress],
    clusterDomain: "cluster.local",
    resolvConf: FILES.resolvers,
    localStorageCapacityIsolation: false,
    // Pods of one node all start at once here, and restarts are what the tests wait for.
    registryPullQPS: 0,
    serializeImagePulls: false,
    syncFrequency: "10s",
    nodeStatusUpdateFrequency: "10s",
    shutdownGracePeriod: "0s",
  };
}

function kubeProxyConfig({ podRange, nodeName }: ClusterPlan): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "nftables",
    clusterCIDR: podRange,
    clientConnection: { kubeconfig: FILES.kubeconfig },
    conntrack: { maxPerCore: 0 },
    healthzBindAddress: "127.0.0.1:10256",
    metricsBindAddress: "127.0.0.1:10249",
    hostnameOverride: nodeName,
  };
}

/** There is no name outside of the cluster: all others do not exist, rather than that nobody answers. */
function corefile({ name, nodeAddress }: ClusterPlan): string {
  return `cluster.local:53 in-addr.arpa:53 {
  bind ${nodeAddress}
  errors
  ready 127.0.0.1:8181
  kubernetes cluster.local in-addr.arpa {
    kubeconfig ${FILES.kubeconfig} ${name}
    pods insecure
    ttl 5
  }
}
.:53 {
  bind ${nodeAddress}
  errors
  template ANY ANY . {
    rcode NXDOMAIN
  }
}
`;
}

/** Pure: a kubeconfig with a context for each cluster, the first one current. */
export function kubeconfigOf(clusters: readonly { plan: ClusterPlan; caPem: string; token: string }[]): object {
  const names = clusters.map(({ plan }) => plan.name);
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: clusters.map(({ plan, caPem }) => ({
      name: plan.name,
      cluster: {
        server: apiServerUrl(plan),
        "certificate-authority-data": Buffer.from(caPem).toString("base64"),
      },
    })),
    users: clusters.map(({ plan, token }) => ({ name: plan.name, user: { token } })),
    contexts: names.map((name) => ({ name, context: { cluster: name, user: name } })),
    "current-context": names[0] ?? "",
  };
}
