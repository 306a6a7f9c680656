import { MeshError } from "../common/runtime/errors.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";
import { VERSION } from "../common/runtime/version.ts";
import { userKubeconfig, type ClusterConfig, clusterOptions } from "./kubernetes/options.ts";
import { printJson, warn } from "./output.ts";

/** In the reference's form, which scripts read; so a cluster that cannot be asked is no failure. */
const version = command({
  name: "version",
  description: "print the versions of this program and of the server's components as JSON",
  options: clusterOptions,
  oneShot: true,
  run: async (config, { signal }) =>
    printJson({ client: { version: VERSION }, server: await serverOf(config, signal) }),
});

async function serverOf(config: ClusterConfig, signal: AbortSignal): Promise<unknown> {
  if (userKubeconfig(config) === undefined) return null;
  try {
    const { listComponents } = await import("./kubernetes/components.ts");
    return await listComponents(config, signal);
  } catch (thrown) {
    signal.throwIfAborted();
    const { message, hint } = MeshError.from(thrown);
    warn(`the server's version is unknown: ${message}`);
    if (hint !== undefined) warn(`hint: ${hint}`);
    return null;
  }
}

export const versionCommands: readonly AnyCommand[] = [version];
