import { generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { get } from "node:https";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import type { TemporaryFolder } from "./folder.ts";
import { freePort } from "./ports.ts";
import { startProcess, type RunningProcess } from "./process.ts";

/** Issuer claim of the tokens. */
export const TOKEN_ISSUER = "https://kubernetes.default.svc";

/** What the three programs of one API server share. */
export interface ApiServerPlan {
  readonly folder: TemporaryFolder;
  readonly etcdUrl: string;
  readonly url: string;
  /** The API server makes it itself, at its first start. */
  readonly caFile: string;
  readonly adminToken: string;
  readonly kubeconfig: string;
}

/** Writes the key for tokens, the administrator's token and the kubeconfig that holds it. */
export async function writeApiServerFiles(plan: ApiServerPlan): Promise<void> {
  const { folder, kubeconfig, adminToken } = plan;
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs1", format: "pem" },
  });
  await writeFileAtomic(folder.file("token-signing.key"), privateKey);
  await writeFileAtomic(folder.file("token-signing.pub"), publicKey);
  await writeFileAtomic(folder.file("tokens.csv"), `${adminToken},admin,admin,"system:masters"\n`);
  await writeFileAtomic(kubeconfig, JSON.stringify(kubeconfigOf(plan)));
}

function kubeconfigOf({ url, caFile, adminToken }: ApiServerPlan): object {
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "test", cluster: { server: url, "certificate-authority": caFile } }],
    users: [{ name: "admin", user: { token: adminToken } }],
    contexts: [{ name: "test", context: { cluster: "test", user: "admin" } }],
    "current-context": "test",
  };
}

export async function startEtcd(command: string, { folder, etcdUrl }: ApiServerPlan): Promise<RunningProcess> {
  const peerUrl = `http://127.0.0.1:${await freePort()}`;
  return startProcess({
    name: "etcd",
    command,
    args: [
      ...["--data-dir", folder.file("etcd"), "--unsafe-no-fsync", "--log-level", "warn"],
      ...["--listen-client-urls", etcdUrl, "--advertise-client-urls", etcdUrl],
      ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
      ...["--initial-cluster", `default=${peerUrl}`],
    ],
    logFile: folder.file("etcd.log"),
    ready: async () => (await fetch(`${etcdUrl}/health`)).ok,
  });
}

/** Killed at the end: it waits long in its own shutdown for requests that watch. */
export async function startKubeApiServer(command: string, plan: ApiServerPlan): Promise<RunningProcess> {
  const { folder, etcdUrl, url, caFile } = plan;
  const { hostname, port } = new URL(url);
  return startProcess({
    name: "kube-apiserver",
    command,
    args: [
      ...["--etcd-servers", etcdUrl, "--bind-address", hostname, "--secure-port", port],
      ...["--cert-dir", folder.file("certs"), "--token-auth-file", folder.file("tokens.csv")],
      ...["--service-account-issuer", TOKEN_ISSUER, "--service-account-key-file", folder.file("token-signing.pub")],
      ...["--service-account-signing-key-file", folder.file("token-signing.key"), "--authorization-mode", "RBAC"],
      ...["--service-cluster-ip-range", "10.0.0.0/24", "--allow-privileged", "--endpoint-reconciler-type", "none"],
    ],
    logFile: folder.file("kube-apiserver.log"),
    ready: async () => answersOk(`${url}/readyz`, await readFile(caFile)),
    stopSignal: "SIGKILL",
  });
}

export async function startControllerManager(command: string, plan: ApiServerPlan): Promise<RunningProcess> {
  const { folder, caFile, kubeconfig } = plan;
  return startProcess({
    name: "kube-controller-manager",
    command,
    args: [
      ...["--kubeconfig", kubeconfig, "--leader-elect=false", "--secure-port", "0", "--root-ca-file", caFile],
      ...["--service-account-private-key-file", folder.file("token-signing.key")],
    ],
    logFile: folder.file("kube-controller-manager.log"),
  });
}

/** True when a GET of that URL is answered with 200; rejects when nobody answers or the certificate is another. */
export function answersOk(url: string, ca: Buffer): Promise<boolean> {
  return new Promise((resolve, reject) => {
    get(url, { ca, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).once("error", reject);
  });
}
