import { MeshError } from "../../common/runtime/errors.ts";
import type { AgentConfig } from "../config.ts";
import type { AgentHome, HomeContext } from "./home.ts";

export async function openKubernetesHome(_config: AgentConfig, _context: HomeContext): Promise<AgentHome> {
  throw new MeshError("unimplemented", "kubernetes mode is not there yet");
}
