import { isIP } from "node:net";
import { join } from "node:path";
import * as z from "zod";
import { defineOptions, type ConfigOf } from "../common/runtime/config.ts";
import { booleanSwitch, durationMs, listenAddress, loopbackAddress } from "../common/runtime/settings.ts";
import { DEFAULT_SERVER_NAMES, type ServerNames } from "./identity/relay-ca.ts";

/** Settings of enterprise-networking. */
export const serverOptions = defineOptions({
  sourceDir: {
    path: "source.dir",
    argument: "DIR",
    help: "directory with VirtualMesh, Mesh and KubernetesCluster YAML; it is watched",
    schema: z.string().min(1).optional(),
  },
  sourceKubeconfig: {
    path: "source.kubeconfig",
    argument: "FILE",
    help: "instead of a directory: kubeconfig of the API server that holds these resources and their status",
    schema: z.string().min(1).optional(),
  },
  sourceInCluster: {
    path: "source.inCluster",
    help: "instead of a directory: the API server of the cluster that this program runs in, as its pod's account",
    schema: booleanSwitch.default(false),
  },
  sourceNamespace: {
    path: "source.namespace",
    argument: "NAMESPACE",
    help: "the one namespace of the API server to read; without it all",
    schema: z.string().min(1).optional(),
  },
  sourcePollMs: {
    path: "source.pollInterval",
    argument: "DURATION",
    help: "how often the directory is looked at",
    schema: durationMs.prefault("500ms"),
  },
  stateDir: {
    path: "state.dir",
    argument: "DIR",
    help: "directory for identities, the relay's own certificate authority and the last good intent; mode 0700",
    schema: z.string().min(1),
  },
  relayListen: {
    path: "relay.listen",
    argument: "HOST:PORT",
    help: "where agents connect, with mutual TLS",
    schema: listenAddress.default("0.0.0.0:9900"),
  },
  relayNames: {
    path: "relay.names",
    argument: "NAME",
    repeated: true,
    help: "further DNS name or IP address for the server's certificate; may be given several times",
    schema: z.array(z.string().min(1)).default([]),
  },
  enrollmentListen: {
    path: "enrollment.listen",
    argument: "HOST:PORT",
    help: "where agents trade their token for a certificate",
    schema: listenAddress.default("0.0.0.0:9901"),
  },
  adminListen: {
    path: "admin.listen",
    argument: "HOST:PORT",
    help: "read-only admin gRPC, for loopback only",
    schema: loopbackAddress.default("127.0.0.1:11100"),
  },
  adminSocket: {
    path: "admin.socket",
    argument: "FILE",
    help: "unix socket, mode 0600, for meshctl; without it admin.sock in the state directory",
    schema: z.string().min(1).optional(),
  },
  monitorListen: {
    path: "monitor.listen",
    argument: "HOST:PORT",
    help: "/metrics, /livez and /readyz",
    schema: listenAddress.default("0.0.0.0:9091"),
  },
});

export type ServerConfig = ConfigOf<typeof serverOptions>;

export const adminSocketOf = ({ adminSocket, stateDir }: Pick<ServerConfig, "adminSocket" | "stateDir">): string =>
  adminSocket ?? join(stateDir, "admin.sock");

/** Names and addresses of the server's certificate: those of the reference, and what was configured. */
export function serverNamesOf({ relayNames }: Pick<ServerConfig, "relayNames">): ServerNames {
  const addresses = relayNames.filter((name) => isIP(name) !== 0);
  return {
    dns: [...DEFAULT_SERVER_NAMES.dns, ...relayNames.filter((name) => isIP(name) === 0)],
    ip: [...DEFAULT_SERVER_NAMES.ip, ...addresses],
  };
}

/** Exactly one place says where the VirtualMesh, Mesh and KubernetesCluster resources are. */
export function checkServerConfig(config: ServerConfig): string[] {
  const { sourceDir, sourceKubeconfig, sourceInCluster, sourceNamespace } = config;
  const given = [sourceDir !== undefined, sourceKubeconfig !== undefined, sourceInCluster].filter(Boolean).length;
  const faults: string[] = [];
  if (given !== 1)
    faults.push(`source.dir, source.kubeconfig and source.inCluster: exactly one is needed, got ${given}`);
  if (sourceDir !== undefined && sourceNamespace !== undefined) {
    faults.push("source.namespace: a directory has no namespaces, its resources name their own");
  }
  return faults;
}
