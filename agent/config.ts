import { join } from "node:path";
import * as z from "zod";
import { defineOptions, type ConfigOf } from "../common/runtime/config.ts";
import { listenAddress, loopbackAddress } from "../common/runtime/settings.ts";
import { identityOptions } from "./identity/options.ts";

/** Settings of enterprise-agent. */
export const agentOptions = defineOptions({
  ...identityOptions,
  stateDir: {
    path: "state.dir",
    argument: "DIR",
    help: "directory for this agent's identity and the last intent; mode 0700",
    schema: z.string().min(1),
  },
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
    help: "where the certificates that verify that listener are published; without it enterprise-agent-ca.pem in the state directory",
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
    help: "JSON web key set that service account tokens are verified with, where no API server is to be asked",
    schema: z.string().min(1).optional(),
  },
  tokenKubeconfig: {
    path: "istiod.kubeconfig",
    argument: "FILE",
    help: "kubeconfig of the API server that reviews service account tokens, instead of a key set",
    schema: z.string().min(1).optional(),
  },
  tokenIssuer: {
    path: "istiod.tokenIssuer",
    argument: "URL",
    help: "issuer that service account tokens must name",
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

export const istiodCaFileOf = ({ istiodCaFile, stateDir }: Pick<AgentConfig, "istiodCaFile" | "stateDir">): string =>
  istiodCaFile ?? join(stateDir, "enterprise-agent-ca.pem");

/** Exactly one way to verify the tokens of the istiod-agents. */
export function checkAgentConfig({ tokenJwksFile, tokenKubeconfig }: AgentConfig): string[] {
  if ((tokenJwksFile === undefined) !== (tokenKubeconfig === undefined)) return [];
  return ["istiod.jwksFile or istiod.kubeconfig: exactly one of them says how istiods' tokens are verified"];
}
