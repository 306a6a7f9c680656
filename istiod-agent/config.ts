import { hostname } from "node:os";
import * as z from "zod";
import { defineOptions, type ConfigOf } from "../common/runtime/config.ts";
import { dialAddress, dnsLabel, listenAddress } from "../common/runtime/settings.ts";
import type { PodContext } from "./pod/context.ts";
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
    help: "directory with this pod's token (for Vault and the API server) and ca.crt; without an API server also enterprise-agent-token and istio-ca-token",
    schema: path.default("/var/run/secrets/kubernetes.io/serviceaccount"),
  },
  apiServerHost: {
    path: "apiServer.host",
    env: "KUBERNETES_SERVICE_HOST",
    argument: "HOST",
    help: "API server of this pod's cluster; every pod has the variable",
    schema: z.string().min(1).optional(),
  },
  apiServerPort: {
    path: "apiServer.port",
    env: "KUBERNETES_SERVICE_PORT",
    argument: "PORT",
    help: "port of that API server; every pod has the variable",
    schema: z.coerce.number("must be a port").int().min(1).max(65_535).default(443),
  },
  secretsDir: {
    path: "secrets.dir",
    argument: "DIR",
    help: "without an API server: directory with Secrets that an order may name, as NAMESPACE/NAME/KEY; without it /var/run/secrets/mesh-relay",
    schema: path.optional(),
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
    help: "the enterprise-agent of this cluster; without it enterprise-agent.NAMESPACE:9977 of its namespace",
    schema: dialAddress.optional(),
  },
  agentNamespace: {
    path: "agent.namespace",
    argument: "NAME",
    help: "namespace of the enterprise-agent, where it publishes its certificates in ConfigMap enterprise-agent-ca",
    schema: dnsLabel.default("gloo-mesh"),
  },
  agentCaFile: {
    path: "agent.caFile",
    argument: "FILE",
    help: "PEM certificates that verify the enterprise-agent, read anew for each connection; with it all credentials come from files and no API server is asked",
    schema: path.optional(),
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
    help: "sidecar: /metrics, /livez, /readyz, /startupz and /renewalz",
    schema: listenAddress.default("0.0.0.0:9091"),
  },
});

export type IstiodAgentConfig = ConfigOf<typeof istiodAgentOptions>;

/** Which pod this is. */
export function podContextOf({ podName, podNamespace, serviceAccount }: IstiodAgentConfig): PodContext {
  return { podName: podName ?? hostname(), podNamespace, serviceAccount };
}

/** Where the agent of this cluster is dialled. */
export function agentAddressOf({ agentAddress, agentNamespace }: IstiodAgentConfig): string {
  return agentAddress ?? `enterprise-agent.${agentNamespace}:9977`;
}
