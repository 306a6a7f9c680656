import * as z from "zod";
import { defineOptions } from "../common/runtime/config.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";
import { booleanSwitch, durationMs } from "../common/runtime/settings.ts";
import { DEFAULT_NAMESPACE, clusterOptions } from "./kubernetes/options.ts";
import { nameSchema, outputOptions, print, printJson, warn } from "./output.ts";

const { kubeconfig, kubecontext } = clusterOptions;

const restart = command({
  name: "mesh restart",
  description: "have the agent restart the pods of a mesh in order: gateways, then workloads",
  options: defineOptions({
    meshName: {
      path: "meshName",
      schema: nameSchema,
      help: "name of the Mesh, e.g. istiod-istio-system-cluster-1",
      argument: "name",
    },
    meshNamespace: {
      path: "meshNamespace",
      schema: z.string().min(1).default(DEFAULT_NAMESPACE),
      help: "namespace of the agent in the cluster of that mesh",
      argument: "name",
    },
    kubeconfig: { ...kubeconfig, help: "kubeconfig of the cluster of that mesh; without it ~/.kube/config" },
    kubecontext,
    wait: { path: "wait", schema: booleanSwitch.default(false), help: "wait until all pods are restarted" },
    timeout: {
      path: "timeout",
      schema: durationMs.prefault("10m"),
      help: "how long to wait",
      argument: "duration",
    },
    ...outputOptions,
  }),
  oneShot: true,
  run: async (config, { signal }) => {
    const { restartMesh } = await import("./kubernetes/restart.ts");
    const { meshName, wait, json } = config;
    const outcome = await restartMesh({ ...config, namespace: config.meshNamespace }, warn, signal);
    if (json) return printJson(outcome);
    if (!wait)
      return print(`asked the agent to restart the pods of ${meshName}; follow it with --wait or ${outcome.look}`);
    print(`restarted ${outcome.restarted ?? 0} pods of ${meshName}`);
    for (const pod of outcome.unmanaged ?? []) print(`not restarted, because nobody would replace it: ${pod}`);
  },
});

export const meshCommands: readonly AnyCommand[] = [restart];
