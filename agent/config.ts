import * as z from "zod";
import { defineOptions, type ConfigOf } from "../common/runtime/config.ts";
import { homeFaults, isKubernetesMode, kubernetesOptions } from "../common/kube/settings.ts";
import { listenAddress, loopbackAddress } from "../common/runtime/settings.ts";
import { identityOptions } from "./identity/options.ts";

/** Settings of enterprise-agent. */
export const agentOptions = defineOptions({
  ...identityOptions,
  stateDir: {
    path: "state.dir",
    argument: "DIR",
    help: "standalone: directory for this agent's identity and the last intent; mode 0700",
    schema: z.string().min(1).optional(),
  },
  ...kubernetesOptions,
  istiodListen: {
    path: "istiod.listen",
    argument: "HOST:PORT",
    help: "where the istiod-agents of this cluster connect",
    schema: listenAddress.default("0.0.0.0:9977"),
  },
  istiodNames: {
    path: "istiod.names",
    argument: "NAME",
    repeated: true,
    help: "further DNS name or IP address for the certificate of that listener; may be given several times",
    schema: z.array(z.string().min(1)).default([]),
  },
  istiodCaFile: {
    path: "istiod.caFile",
    argument: "FILE",
    help: "standalone: where the certificates that verify that listener are published; without it enterprise-agent-ca.pem in the state directory",
    schema: z.string().min(1).optional(),
  },
  istiodServiceAccounts: {
    path: "istiod.serviceAccounts",
    argument: "NAMESPACE/NAME",
    repeated: true,
    help: "service account that istiod may run as; may be given several times",
    schema: z
      .array(z.string().regex(/^[^/]+\/[^/]+$/, "must be namespace/name"))
      .default(["istio-system/istiod", "istio-system/istiod-service-account"]),
  },
  tokenJwksFile: {
    path: "istiod.jwksFile",
    argument: "FILE",
    help: "standalone: JSON web key set that service account tokens are verified with",
    schema: z.string().min(1).optional(),
  },
  tokenIssuer: {
    path: "istiod.tokenIssuer",
    argument: "URL",
    help: "standalone: issuer that service account tokens must name",
    schema: z.string().min(1).default("https://kubernetes.default.svc"),
  },
  vaultServer: {
    path: "vault.server",
    argument: "URL",
    help: "Vault of this cluster, instead of the VirtualMesh's",
    schema: z.url({ protocol: /^https?$/ }).optional(),
  },
  vaultNamespace: {
    path: "vault.namespace",
    argument: "NAME",
    help: "Vault namespace of this cluster, instead of the VirtualMesh's",
    schema: z.string().optional(),
  },
  vaultMountPath: {
    path: "vault.mountPath",
    argument: "PATH",
    help: "kubernetes auth mount of this cluster, instead of the VirtualMesh's",
    schema: z.string().min(1).optional(),
  },
  vaultCaBundleFile: {
    path: "vault.caBundle",
    argument: "FILE",
    help: "PEM file that Vault's TLS certificate is verified with, instead of the VirtualMesh's",
    schema: z.string().min(1).optional(),
  },
  debugListen: {
    path: "debug.listen",
    argument: "HOST:PORT",
    help: "read-only gRPC for people, for loopback only",
    schema: loopbackAddress.default("127.0.0.1:11100"),
  },
  monitorListen: {
    path: "monitor.listen",
    argument: "HOST:PORT",
    help: "/metrics, /livez and /readyz",
    schema: listenAddress.default("0.0.0.0:9091"),
  },
});

export type AgentConfig = ConfigOf<typeof agentOptions>;

/** Exactly one home: a directory, or an API server that keeps everything. */
export function checkAgentConfig(config: AgentConfig): string[] {
  const { stateDir, istiodCaFile, tokenJwksFile, tokenFile, trustBundleFile } = config;
  const faults = homeFaults(config, { "state.dir": stateDir !== undefined });
  if (!isKubernetesMode(config)) {
    if (tokenJwksFile === undefined) faults.push("istiod.jwksFile: is required with state.dir");
    return faults;
  }
  const inApiServer = {
    "istiod.caFile": istiodCaFile,
    "istiod.jwksFile": tokenJwksFile,
    "relay.tokenFile": tokenFile,
    "relay.trustBundleFile": trustBundleFile,
  };
  const given = Object.entries(inApiServer).flatMap(([path, value]) => (value === undefined ? [] : [path]));
  return [...faults, ...given.map((path) => `${path}: in kubernetes mode it is in the API server`)];
}
