import { existsSync } from "node:fs";
import { delimiter } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";
import { MeshError } from "../runtime/errors.ts";
import { PooledKubeConfig } from "./pooled-config.ts";

/** Where a connection to an API server is described. */
export interface KubeconfigSource {
  /** A kubeconfig file, or several as kubectl takes them in $KUBECONFIG; without it the pod's own cluster. */
  readonly file: string | undefined;
  /** Name of the context; without it the file's current one. */
  readonly context?: string | undefined;
}

/** Words for messages. */
export const describeSource = ({ file, context }: KubeconfigSource): string =>
  file === undefined
    ? "the pod's service account"
    : `kubeconfig ${file}${context === undefined ? "" : `, context ${context}`}`;

/** Reads it once. Throws `config_invalid`, with the contexts that there are where the one named is not among them. */
export function loadKubeconfig(source: KubeconfigSource): PooledKubeConfig {
  const config = new PooledKubeConfig();
  try {
    if (source.file === undefined) config.loadFromCluster();
    else loadFiles(config, source.file);
  } catch (thrown) {
    // A YAML parser quotes the text, and the text holds the credentials.
    const { code } = (thrown ?? {}) as NodeJS.ErrnoException;
    throw new MeshError("config_invalid", `${describeSource(source)} cannot be read: ${code ?? "no valid kubeconfig"}`);
  }
  if (source.context !== undefined) chooseContext(config, source.context, source);
  const server = config.getCurrentCluster()?.server;
  if (!server || !URL.canParse(server)) {
    throw new MeshError("config_invalid", `${describeSource(source)} names no API server`, {
      hint: source.file === undefined ? "is this a pod?" : "check current-context, contexts and clusters",
    });
  }
  return config;
}

/** As kubectl does it: of several files those that are there, and what an earlier one names wins. */
function loadFiles(config: KubeConfig, files: string): void {
  const paths = files.split(delimiter).filter((path) => path !== "");
  const [first = paths[0] ?? files, ...others] = paths.filter((path) => existsSync(path));
  config.loadFromFile(first);
  for (const path of others) {
    const other = new KubeConfig();
    other.loadFromFile(path);
    addMissing(config, other);
  }
}

function addMissing(config: KubeConfig, other: KubeConfig): void {
  for (const each of other.clusters) if (!config.getCluster(each.name)) config.addCluster(each);
  for (const each of other.users) if (!config.getUser(each.name)) config.addUser(each);
  for (const each of other.contexts) if (!config.getContextObject(each.name)) config.addContext(each);
  if (!config.currentContext) config.setCurrentContext(other.currentContext);
}

function chooseContext(config: KubeConfig, context: string, source: KubeconfigSource): void {
  if (config.getContextObject(context)) return config.setCurrentContext(context);
  const known = config.getContexts().map(({ name }) => name);
  throw new MeshError("config_invalid", `kubeconfig ${source.file ?? ""} has no context ${context}`, {
    hint: known.length === 0 ? "it has none at all" : `it has ${known.join(", ")}`,
  });
}
