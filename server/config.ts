import { isIP } from "node:net";
import { join } from "node:path";
import * as z from "zod";
import { defineOptions, type ConfigOf } from "../common/runtime/config.ts";
import { homeFaults, isKubernetesMode, kubernetesOptions } from "../common/kube/settings.ts";
import { booleanSwitch, durationMs, listenAddress, loopbackAddress } from "../common/runtime/settings.ts";
import { DEFAULT_SERVER_NAMES, type ServerNames } from "./identity/relay-ca.ts";

/** Settings of enterprise-networking. */
export const serverOptions = defineOptions({
  sourceDir: {
    path: "source.dir",
    argument: "DIR",
    help: "standalone: directory with VirtualMesh, Mesh and KubernetesCluster YAML; it is watched",
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
    help: "standalone: directory for identities, the relay's own certificate authority and the last good intent; mode 0700",
    schema: z.string().min(1).optional(),
  },
  ...kubernetesOptions,
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
  disableRelayCa: {
    path: "disableRelayCa",
    help: "use certificates of your own: relay-root-tls-secret and relay-server-tls-secret are only read, and no agent is enrolled by token",
    schema: booleanSwitch.default(false),
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
    help: "unix socket, mode 0600, for meshctl; without it admin.sock in the state directory, or /run/mesh-relay/admin.sock",
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
  adminSocket ?? join(stateDir ?? "/run/mesh-relay", "admin.sock");

/** Names and addresses of the server's certificate: those of the reference, and what was configured. */
export function serverNamesOf({ relayNames }: Pick<ServerConfig, "relayNames">): ServerNames {
  const addresses = relayNames.filter((name) => isIP(name) !== 0);
  return {
    dns: [...DEFAULT_SERVER_NAMES.dns, ...relayNames.filter((name) => isIP(name) === 0)],
    ip: [...DEFAULT_SERVER_NAMES.ip, ...addresses],
  };
}

/** Exactly one home: directories, or an API server that keeps everything. */
export function checkServerConfig(config: ServerConfig): string[] {
  const { sourceDir, stateDir, disableRelayCa } = config;
  const faults = homeFaults(config, { "source.dir": sourceDir !== undefined });
  if (isKubernetesMode(config)) {
    if (stateDir !== undefined) faults.push("state.dir: in kubernetes mode all state is in the API server");
    return faults;
  }
  if (stateDir === undefined) faults.push("state.dir: is required with source.dir");
  if (disableRelayCa) faults.push("disableRelayCa: needs kubernetes mode, where there are Secrets to read");
  return faults;
}
