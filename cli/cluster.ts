import { defineOptions } from "../common/runtime/config.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";
import { formatTable } from "../common/runtime/table.ts";
import { RegistryServiceService } from "../proto/gen/admin/v1/admin.ts";
import { CALL_TIMEOUT_MS, type ConnectionConfig, connectionOptions, isOnKubernetes, withServer } from "./connection.ts";
import { formatTime, nameSchema, outputOptions, print, printJson } from "./output.ts";
import { register } from "./register.ts";
import { listSessions } from "./sessions.ts";

const clusterName = defineOptions({
  name: { path: "cluster", schema: nameSchema, help: "name of the cluster: a DNS label", argument: "name" },
});

const list = command({
  name: "cluster list",
  description: "list the registered clusters",
  options: { ...connectionOptions, ...outputOptions },
  oneShot: true,
  run: async (config, { signal }) => {
    const sessions = await withServer(config, signal, (dialer) => listSessions(dialer, signal));
    const clusters = sessions.map(({ cluster, identity, connected, certificateNotAfter }) => {
      return { cluster, identity, connected, certificateNotAfter };
    });
    if (config.json) return printJson(clusters);
    const rows = clusters.map((each) => [
      each.cluster,
      each.identity,
      each.connected ? "yes" : "no",
      formatTime(each.certificateNotAfter),
    ]);
    print(formatTable(["CLUSTER", "IDENTITY", "CONNECTED", "CERTIFICATE UNTIL"], rows));
  },
});

const revoke = command({
  name: "cluster revoke",
  description: "take a cluster's identity away and end its session at once",
  options: { ...clusterName, ...connectionOptions, ...outputOptions },
  operands: ["name"],
  oneShot: true,
  run: async (config, { signal }) => {
    const { name } = config;
    const { sessionClosed } = await revokeIdentity(config, signal);
    if (config.json) printJson({ cluster: name, sessionClosed });
    else print(`cluster ${name} is revoked; ${sessionText(sessionClosed)}`);
  },
});

const revokeIdentity = (config: ConnectionConfig & { readonly name: string }, signal: AbortSignal) =>
  withServer(config, signal, (dialer) =>
    dialer.unary(
      RegistryServiceService.revokeCluster,
      { cluster: config.name },
      { signal, timeoutMs: CALL_TIMEOUT_MS },
    ),
  );

const sessionText = (sessionClosed: boolean): string =>
  sessionClosed ? "its session was ended" : "it was not connected";

const deregister = command({
  name: "cluster deregister",
  description: "revoke a cluster and forget it; nothing is removed in the cluster itself",
  options: { ...clusterName, ...connectionOptions, ...outputOptions },
  operands: ["name"],
  oneShot: true,
  run: async (config, { signal }) => {
    const { name } = config;
    if (!isOnKubernetes(config)) {
      throw new MeshError("config_invalid", "a server that reads a directory knows clusters by their files there", {
        hint: `meshctl cluster revoke ${name}, and delete its KubernetesCluster from the source directory`,
      });
    }
    // One that never asked for a token has no identity, and is forgotten all the same.
    const unknown = (thrown: unknown): MeshError => {
      const error = MeshError.from(thrown);
      if (error.code === "not_found") return error;
      throw error;
    };
    const revoked = await revokeIdentity(config, signal).catch(unknown);
    const { forgetCluster } = await import("./kubernetes/register.ts");
    const isForgotten = await forgetCluster(config, signal);
    if (revoked instanceof MeshError && !isForgotten) throw revoked;
    const sessionClosed = !(revoked instanceof MeshError) && revoked.sessionClosed;
    if (config.json) return printJson({ cluster: name, sessionClosed });
    print(`cluster ${name} is revoked and forgotten; ${sessionText(sessionClosed)}`);
    print(
      "nothing was removed in the cluster: its istiods go on signing, and its agent keeps their certificates renewed",
    );
  },
});

export const clusterCommands: readonly AnyCommand[] = [register, list, revoke, deregister];
