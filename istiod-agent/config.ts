import { hostname } from "node:os";
import * as z from "zod";
import { defineOptions, type ConfigOf } from "../common/runtime/config.ts";
import { dialAddress, listenAddress } from "../common/runtime/settings.ts";
import type { PodContext } from "./keeper/issue-order.ts";
import { resolveOverride } from "./vault/resolve.ts";

const path = z.string().min(1);

/** Settings of istiod-agent; both commands take all of them, so that one file serves both. */
export const istiodAgentOptions = defineOptions({
  podName: {
    path: "pod.name",
    env: "POD_NAME",
    argument: "NAME",
    help: "name of this pod; without it the host's name",
    schema: z.string().min(1).optional(),
  },
  podNamespace: {
    path: "pod.namespace",
    env: "POD_NAMESPACE",
    argument: "NAME",
    help: "namespace of this pod",
    schema: z.string().min(1).default("istio-system"),
  },
  serviceAccount: {
    path: "pod.serviceAccount",
    env: "SERVICE_ACCOUNT",
    argument: "NAME",
    help: "service account of this pod",
    schema: z.string().min(1).default("istiod"),
  },
  pilotCertProvider: {
    path: "pilotCertProvider",
    env: "PILOT_CERT_PROVIDER",
    argument: "NAME",
    help: "istiod's setting of the same name",
    schema: z
      .literal("istiod", "must be istiod: with another provider istiod does not sign with these files")
      .default("istiod"),
  },
  cacertsDir: {
    path: "cacerts.dir",
    argument: "DIR",
    help: "directory that istiod reads its certificate authority from",
    schema: path.default("/etc/cacerts"),
  },
  cacertsKeyMode: {
    path: "cacerts.keyMode",
    argument: "MODE",
    help: "mode of ca-key.pem: 0600, or 0640 where istiod runs as another user of the same group",
    schema: z.enum(["0600", "0640"]).default("0600"),
  },
  serviceAccountDir: {
    path: "serviceAccount.dir",
    argument: "DIR",
    help: "directory with this pod's tokens: token (for Vault), enterprise-agent-token and istio-ca-token",
    schema: path.default("/var/run/secrets/kubernetes.io/serviceaccount"),
  },
  secretsDir: {
    path: "secrets.dir",
    argument: "DIR",
    help: "directory with Secrets that an order may name, as NAMESPACE/NAME/KEY",
    schema: path.default("/var/run/secrets/mesh-relay"),
  },
  resolve: {
    path: "resolve",
    argument: "HOST:PORT:ADDRESS[:PORT]",
    repeated: true,
    help: "connect to ADDRESS for Vault's HOST:PORT, whatever the name service says; may be given several times",
    schema: z.array(resolveOverride).default([]),
  },
  agentAddress: {
    path: "agent.address",
    argument: "HOST:PORT",
    help: "the enterprise-agent of this cluster",
    schema: dialAddress.default("enterprise-agent.gloo-mesh:9977"),
  },
  agentCaFile: {
    path: "agent.caFile",
    argument: "FILE",
    help: "PEM certificates that verify the enterprise-agent; read anew for each connection",
    schema: path,
  },
  agentAuthority: {
    path: "agent.authority",
    argument: "NAME",
    help: "name in the enterprise-agent's certificate, where it is not the host",
    schema: z.string().min(1).optional(),
  },
  istiodAddress: {
    path: "istiod.address",
    argument: "HOST:PORT",
    help: "sidecar: TLS port of the istiod beside it, asked for the proof",
    schema: dialAddress.default("127.0.0.1:15012"),
  },
  istiodServerName: {
    path: "istiod.serverName",
    argument: "NAME",
    help: "sidecar: name in istiod's certificate; without it istiod.NAMESPACE.svc",
    schema: z.string().min(1).optional(),
  },
  monitorListen: {
    path: "monitor.listen",
    argument: "HOST:PORT",
    help: "sidecar: /metrics, /livez, /readyz and /renewalz",
    schema: listenAddress.default("0.0.0.0:9091"),
  },
});

export type IstiodAgentConfig = ConfigOf<typeof istiodAgentOptions>;

/** Which pod this is. */
export function podContextOf(config: IstiodAgentConfig): PodContext {
  const { podName, podNamespace, serviceAccount, serviceAccountDir, secretsDir } = config;
  return { podName: podName ?? hostname(), podNamespace, serviceAccount, serviceAccountDir, secretsDir };
}
