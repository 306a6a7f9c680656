import { KubernetesStatus } from "../status/kubernetes-status.ts";
import type { KubernetesContext } from "./kubernetes-home.ts";
import { KubernetesSource } from "./kubernetes-source.ts";
import { memoryDocuments } from "./memory-documents.ts";
import type { Pipeline, PipelineDeps } from "./pipeline.ts";
import { openStandalonePipeline } from "./standalone-pipeline.ts";

/** From the objects of an API server to their status. */
export async function openKubernetesPipeline(context: KubernetesContext, deps: PipelineDeps): Promise<Pipeline> {
  const { client } = context;
  const source = new KubernetesSource(context);
  const pipeline = await openStandalonePipeline(source, { ...deps, directory: memoryDocuments() });
  const { statuses } = pipeline;
  const writer = new KubernetesStatus({ ...context, client, objects: source.virtualMeshes, statuses });
  return { ...pipeline, leaderTasks: { "status writer": (stop) => writer.run(stop) } };
}
