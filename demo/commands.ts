import { join } from "node:path";
import { formatHostPort } from "../common/runtime/settings.ts";
import { opensslVerify } from "./checks.ts";
import type { Cluster } from "./cluster.ts";
import type { ServerPlan } from "./server.ts";
import { findProgram } from "./vault.ts";

const MESHCTL = "node_modules/.bin/node dist/meshctl.js";

/** Commands with which the user can look for himself, in the order to try them. They work as printed, in this folder. */
export function commandsFor(clusters: readonly Cluster[], server: Pick<ServerPlan, "admin" | "adminSocket">): string[] {
  const { admin, adminSocket } = server;
  const [first] = clusters;
  const last = clusters.at(-1);
  if (!first || !last) return [];
  const [here, there] = [first.directories.cacerts, last.directories.cacerts];
  const commands = [
    `${MESHCTL} status --server ${admin}`,
    `${MESHCTL} relay sessions --admin-socket ${adminSocket}`,
    `${MESHCTL} relay explain ${first.name} --admin-socket ${adminSocket}`,
    `openssl x509 -in ${join(here, "ca-cert.pem")} -noout -text`,
    `openssl ${opensslVerify(here).join(" ")}`,
    `cmp ${join(here, "root-cert.pem")} ${join(there, "root-cert.pem")} && echo one root`,
    `grpcurl -plaintext ${admin} list`,
    `grpcurl -plaintext ${admin} admin.v1.AdminService/ListSessions`,
    `npx buf curl --protocol grpc --http2-prior-knowledge http://${admin}/admin.v1.AdminService/ListSessions`,
    replicasByBuf(first),
    replicasByGrpcurl(first),
  ];
  return findProgram("grpcurl") ? commands : commands.filter((command) => !command.startsWith("grpcurl "));
}

function replicasByBuf({ files, istiodListen, tokens }: Cluster): string {
  const token = `-H "authorization: Bearer $(cat ${join(tokens.directory, "enterprise-agent-token")})"`;
  const url = `https://${formatHostPort(istiodListen)}/istiod.v1.IstiodService/ListReplicas`;
  return `npx buf curl --protocol grpc --cacert ${files.agentCa} ${token} --reflect-header '*' ${url}`;
}

function replicasByGrpcurl({ files, istiodListen, tokens }: Cluster): string {
  const token = `-H "authorization: Bearer $(cat ${join(tokens.directory, "enterprise-agent-token")})"`;
  return `grpcurl -cacert ${files.agentCa} ${token} ${formatHostPort(istiodListen)} istiod.v1.IstiodService/ListReplicas`;
}
