import * as z from "zod";
import { writeFileAtomic } from "../common/runtime/files.ts";
import { type ConfigOf, defineOptions } from "../common/runtime/config.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";
import { booleanSwitch, durationMs } from "../common/runtime/settings.ts";
import { formatTable } from "../common/runtime/table.ts";
import {
  AdminServiceService,
  type RegisterClusterResponse,
  RegistryServiceService,
} from "../proto/gen/admin/v1/admin.ts";
import { CALL_TIMEOUT_MS, connectionOptions, withServer } from "./connection.ts";
import { formatTime, nameSchema, outputOptions, print, printJson } from "./output.ts";

const clusterName = defineOptions({
  name: { path: "cluster", schema: nameSchema, help: "name of the cluster: a DNS label", argument: "name" },
});

const registerOptions = defineOptions({
  ...clusterName,
  ...connectionOptions,
  ...outputOptions,
  renewToken: {
    path: "renewToken",
    schema: booleanSwitch.default(false),
    help: "make a new token for a cluster that has an identity already",
  },
  tokenTtl: {
    path: "tokenTtl",
    schema: durationMs.prefault("30m"),
    help: "how long the token can be used, at most 24h",
    argument: "duration",
  },
  tokenFile: {
    path: "tokenFile",
    schema: z.string().min(1).optional(),
    help: "write the token to this file (mode 0600) instead of printing it",
    argument: "file",
  },
  relayServerAddress: {
    path: "relayServerAddress",
    schema: z.string().min(1).default("localhost:9900"),
    help: "address of the relay as the agent sees it, for the command that is printed",
    argument: "host:port",
  },
});

const register = command({
  name: "cluster register",
  description: "register a cluster and make the single-use token for its agent",
  options: registerOptions,
  operands: ["name"],
  oneShot: true,
  run: async (config, { signal }) => {
    const { name, renewToken, tokenTtl } = config;
    const request = { cluster: name, renewToken, tokenTtlSeconds: Math.ceil(tokenTtl / 1000) };
    const response = await withServer(config, (dialer) =>
      dialer.unary(RegistryServiceService.registerCluster, request, { signal, timeoutMs: CALL_TIMEOUT_MS }),
    );
    if (config.tokenFile !== undefined) await writeFileAtomic(config.tokenFile, `${response.token}\n`, 0o600);
    if (config.json) printJson(registrationJson(config, response));
    else print(registrationText(config, response));
  },
});

type RegisterConfig = ConfigOf<typeof registerOptions>;

/** Flags of enterprise-agent for this registration. */
export function agentFlags(
  {
    name,
    relayServerAddress,
    tokenFile = `${name}.token`,
  }: Pick<RegisterConfig, "name" | "relayServerAddress" | "tokenFile">,
  trustPin: string,
): string[] {
  return [
    `--relay-cluster=${name}`,
    `--relay-server-address=${relayServerAddress}`,
    `--relay-trust-pin=${trustPin}`,
    `--relay-token-file=${tokenFile}`,
  ];
}

/** Only the operator knows where the keys of the cluster's tokens lie. */
const TOKEN_KEYS = "--istiod-jwks-file=JWKS_FILE   # or --istiod-kubeconfig=KUBECONFIG";

function registrationJson(config: RegisterConfig, response: RegisterClusterResponse): unknown {
  const { token, tokenExpiresAt, trustBundle, trustPin } = response;
  const shown = config.tokenFile === undefined ? { token } : { tokenFile: config.tokenFile };
  const flags = agentFlags(config, trustPin);
  return { cluster: config.name, ...shown, tokenExpiresAt, trustPin, trustBundle, agentFlags: flags };
}

function registrationText(config: RegisterConfig, response: RegisterClusterResponse): string {
  const { token, tokenExpiresAt, trustPin } = response;
  const file = config.tokenFile ?? `${config.name}.token`;
  const expiry = `good once, until ${formatTime(tokenExpiresAt)}`;
  return [
    `cluster ${config.name} is registered`,
    "",
    `  token      ${config.tokenFile === undefined ? token : `in ${file}`} (${expiry})`,
    `  trust pin  ${trustPin}`,
    "",
    config.tokenFile === undefined
      ? `Put the token into the file ${file} (mode 0600), then start the agent of the cluster:`
      : "Start the agent of the cluster:",
    "",
    ["  enterprise-agent", ...agentFlags(config, trustPin), `--state-dir=${config.name}.state`, TOKEN_KEYS].join(
      " \\\n    ",
    ),
  ].join("\n");
}

const list = command({
  name: "cluster list",
  description: "list the registered clusters",
  options: { ...connectionOptions, ...outputOptions },
  oneShot: true,
  run: async (config, { signal }) => {
    const { sessions } = await withServer(config, (dialer) =>
      dialer.unary(AdminServiceService.listSessions, {}, { signal, timeoutMs: CALL_TIMEOUT_MS }),
    );
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
    const { sessionClosed } = await withServer(config, (dialer) =>
      dialer.unary(RegistryServiceService.revokeCluster, { cluster: name }, { signal, timeoutMs: CALL_TIMEOUT_MS }),
    );
    if (config.json) printJson({ cluster: name, sessionClosed });
    else print(`cluster ${name} is revoked; ${sessionClosed ? "its session was ended" : "it was not connected"}`);
  },
});

export const clusterCommands: readonly AnyCommand[] = [register, list, revoke];
