import { fileURLToPath } from "node:url";
import { runCommand } from "./command.ts";
import type { TemporaryFolder } from "./folder.ts";

/** What `Helm` needs, for `skipWithout`. */
export const HELM_TOOLS = ["helm"] as const;

export type Chart = "enterprise-networking" | "enterprise-agent";
export const CHARTS: readonly Chart[] = ["enterprise-networking", "enterprise-agent"];

/** Folder of one of our charts. */
export const chartFolder = (chart: Chart): string =>
  fileURLToPath(new URL(`../../deploy/charts/${chart}`, import.meta.url));

/** Folder of the CRDs, for `kubectl apply --server-side -f`. */
export const CRDS_FOLDER = fileURLToPath(new URL("../../deploy/crds", import.meta.url));

/** The real helm; its own files lie in the folder. A release is called like its chart and lies in gloo-mesh. */
export class Helm {
  readonly #helm: string;
  readonly #folder: TemporaryFolder;
  readonly #kubeconfig: string | undefined;

  constructor(helm: string, folder: TemporaryFolder, kubeconfig?: string) {
    this.#helm = helm;
    this.#folder = folder;
    this.#kubeconfig = kubeconfig;
  }

  /** Runs helm and returns its standard output; `values` is the text of a values file. */
  run(args: readonly string[], values?: string): Promise<string> {
    const file = values === undefined ? [] : ["--values", "-"];
    const at = this.#kubeconfig === undefined ? [] : ["--kubeconfig", this.#kubeconfig];
    const env = { HELM_CACHE_HOME: "cache", HELM_CONFIG_HOME: "config", HELM_DATA_HOME: "data" };
    const homes = Object.entries(env).map(([name, folder]) => [name, this.#folder.file("helm", folder)]);
    return runCommand(this.#helm, [...args, ...file, ...at], {
      env: Object.fromEntries(homes) as Record<string, string>,
      ...(values !== undefined && { stdin: values }),
    });
  }

  /** The manifests that the chart makes of these values, as YAML. */
  template(chart: Chart, values: string, args: readonly string[] = []): Promise<string> {
    return this.run(["template", chart, chartFolder(chart), "--namespace", "gloo-mesh", ...args], values);
  }
}
