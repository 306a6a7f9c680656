import { existsSync } from "node:fs";
import { InClusterClient } from "../common/kube/incluster/client.ts";
import type { Clock } from "../common/runtime/clock.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { podContextOf, type IstiodAgentConfig } from "./config.ts";
import { fileCredentials, type PodCredentials } from "./pod/credentials.ts";
import { kubernetesCredentials } from "./pod/kubernetes.ts";

const SECRETS_DIR = "/var/run/secrets/mesh-relay";

/**
 * Where the pod's credentials come from: files where a setting names them, else the API server of the pod that this is.
 * Nothing is mixed. Throws `config_invalid` for the faults of `checkIstiodAgentConfig`.
 */
export function openCredentials(config: IstiodAgentConfig, clock: Clock): PodCredentials {
  const faults = checkIstiodAgentConfig(config);
  if (faults.length > 0) throw new MeshError("config_invalid", faults.join("; "));
  const { serviceAccountDir, agentNamespace, agentCaFile, secretsDir = SECRETS_DIR } = config;
  if (agentCaFile !== undefined) return fileCredentials({ serviceAccountDir, secretsDir, agentCaFile });
  const apiServer = { host: config.apiServerHost ?? "", port: config.apiServerPort };
  const client = new InClusterClient({ apiServer, accountDir: serviceAccountDir });
  return kubernetesCredentials({ client, pod: podContextOf(config), serviceAccountDir, agentNamespace, clock });
}

/** Why neither home can be had, each with the setting that is wrong. Looks into the service account directory. */
export function checkIstiodAgentConfig(config: IstiodAgentConfig): readonly string[] {
  const { agentCaFile, secretsDir, apiServerHost, serviceAccountDir } = config;
  if (agentCaFile !== undefined) return [];
  if (secretsDir !== undefined) return ["agent.caFile: is required where secrets.dir names files"];
  if (apiServerHost === undefined) {
    return ["agent.caFile: is required outside of a pod ($KUBERNETES_SERVICE_HOST names no api server)"];
  }
  return ["token", "ca.crt"]
    .filter((name) => !existsSync(`${serviceAccountDir}/${name}`))
    .map((name) => `serviceAccount.dir: ${serviceAccountDir} has no ${name}; is automountServiceAccountToken false?`);
}
