import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import * as z from "zod";
import { type ConfigOf, defineOptions } from "../common/runtime/config.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { writeFileAtomic } from "../common/runtime/files.ts";
import { command } from "../common/runtime/process.ts";
import { booleanSwitch, durationMs } from "../common/runtime/settings.ts";
import { type RegisterClusterResponse, RegistryServiceService } from "../proto/gen/admin/v1/admin.ts";
import { CALL_TIMEOUT_MS, connectionOptions, isOnKubernetes, withServer } from "./connection.ts";
import { DEFAULT_NAMESPACE } from "./kubernetes/options.ts";
import type { Registration } from "./kubernetes/register.ts";
import { formatTime, nameSchema, outputOptions, print, printJson } from "./output.ts";
import { relayAddress } from "./relay-address.ts";

const registerOptions = defineOptions({
  name: { path: "cluster", schema: nameSchema, help: "name of the cluster: a DNS label", argument: "name" },
  ...connectionOptions,
  ...outputOptions,
  // Two clusters take part here, so both are named, in the reference's words.
  kubeconfig: { ...connectionOptions.kubeconfig, path: "mgmt.kubeconfig", common: false },
  kubecontext: {
    ...connectionOptions.kubecontext,
    path: "mgmt.context",
    common: false,
    help: "context of the management cluster; without it the current one",
  },
  namespace: {
    ...connectionOptions.namespace,
    path: "mgmt.namespace",
    common: false,
    help: "namespace of the server there",
  },
  remoteKubeconfig: {
    path: "remote.kubeconfig",
    schema: z.string().min(1).optional(),
    help: "kubeconfig of the cluster to register; without it that of the management cluster",
    argument: "file",
  },
  remoteContext: {
    path: "remote.context",
    schema: z.string().min(1).optional(),
    help: "context of the cluster to register",
    argument: "name",
  },
  remoteNamespace: {
    path: "remote.namespace",
    schema: z.string().min(1).default(DEFAULT_NAMESPACE),
    help: "namespace of the agent there; it is made where there is none",
    argument: "name",
  },
  agentChart: {
    path: "agent.chart",
    schema: z.string().min(1).optional(),
    help: "install the agent with this chart, by the helm of the PATH, and wait for it",
    argument: "path",
  },
  agentValues: {
    path: "agent.values",
    schema: z.string().min(1).optional(),
    help: "file with further values for that chart",
    argument: "file",
  },
  wait: {
    path: "wait",
    schema: booleanSwitch.default(false),
    help: "wait for the agent, where somebody else installs it",
  },
  timeout: {
    path: "timeout",
    schema: durationMs.prefault("2m"),
    help: "how long to wait for the agent",
    argument: "duration",
  },
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
    schema: relayAddress.optional(),
    help: "address of the relay as the agent sees it",
    argument: "host:port",
  },
});

export type RegisterConfig = ConfigOf<typeof registerOptions>;

export const register = command({
  name: "cluster register",
  description: "register a cluster: make the single-use token for its agent, and bring it into the cluster",
  options: registerOptions,
  operands: ["name"],
  oneShot: true,
  run: async (config, { signal }) => {
    const ask = (): Promise<RegisterClusterResponse> => askForToken(config, signal);
    if (isOnKubernetes(config)) return registerCluster(config, ask, signal);
    if (config.tokenFile !== undefined) await requireFolderOf(config.tokenFile);
    const response = await ask();
    if (config.tokenFile !== undefined) await writeFileAtomic(config.tokenFile, `${response.token}\n`, 0o600);
    if (config.json) printJson(registrationJson(config, response));
    else print(registrationText(config, response));
  },
});

/** A folder that is made by the way would be one that nobody meant. Looked at first: the token is shown once. */
async function requireFolderOf(tokenFile: string): Promise<void> {
  const folder = dirname(tokenFile);
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory()) return;
  throw new MeshError("config_invalid", `the folder of --token-file is missing: ${folder}`, {
    hint: `make it, open to you alone: mkdir -m 700 ${folder}`,
  });
}

async function askForToken(config: RegisterConfig, signal: AbortSignal): Promise<RegisterClusterResponse> {
  const { name, renewToken, tokenTtl } = config;
  const request = { cluster: name, renewToken, tokenTtlSeconds: Math.ceil(tokenTtl / 1000) };
  return withServer(config, signal, (dialer) =>
    dialer.unary(RegistryServiceService.registerCluster, request, { signal, timeoutMs: CALL_TIMEOUT_MS }),
  );
}

async function registerCluster(
  config: RegisterConfig,
  ask: () => Promise<RegisterClusterResponse>,
  signal: AbortSignal,
): Promise<void> {
  const { relayServerAddress } = config;
  if (relayServerAddress === undefined) {
    throw new MeshError("config_invalid", "--relay-server-address is not given: host:port of the relay", {
      hint: "as the cluster's pods see it; in the management cluster itself enterprise-networking.gloo-mesh:9900",
    });
  }
  const { registerInCluster } = await import("./kubernetes/register.ts");
  const registration = await registerInCluster({ ...config, relayServerAddress }, ask, signal);
  if (config.json) printJson(registration);
  else print(clusterText(registration));
}

function clusterText({ cluster, helm, installed, connected, tokenExpiresAt }: Registration): string {
  if (connected) return `cluster ${cluster} is registered and its agent is connected`;
  const state = installed ? "its agent is being installed" : `install its agent until ${formatTime(tokenExpiresAt)}:`;
  return [`cluster ${cluster} is registered; ${state}`, "", `  ${helm}`].join("\n");
}

/** Flags of enterprise-agent for this registration, where it keeps its state in files. */
export function agentFlags(
  {
    name,
    relayServerAddress = "localhost:9900",
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
const TOKEN_KEYS = "--istiod-jwks-file=JWKS_FILE";

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
