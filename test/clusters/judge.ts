/** What is true on a cluster, by programs that are not ours: kubectl, istioctl, grpcurl, openssl. */
import { writeFile } from "node:fs/promises";
import { runCommand } from "../harness/command.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { createCertificate, type CertificateRequest } from "../harness/istiod.ts";
import { opensslRequest, opensslVerify, opensslX509 } from "../harness/openssl.ts";
import { ensureTools } from "../tools/build.ts";
import type { Cluster } from "./cluster.ts";

/** What of a pod tells whether it is still the same one. */
export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: { readonly volumes: readonly { readonly name: string }[] };
  readonly status: {
    readonly podIP?: string;
    readonly phase: string;
    readonly conditions?: readonly { readonly type: string; readonly lastTransitionTime: string }[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

interface ContainerStatus {
  readonly name: string;
  readonly containerID?: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly state: Readonly<Record<string, object>>;
}

/** The pods of a selector that are not being deleted. */
export async function podsOf(cluster: Cluster, namespace: string, selector?: string): Promise<Pod[]> {
  const which = selector === undefined ? [] : ["--selector", selector];
  const { items } = await cluster.get<{ items: Pod[] }>("pods", "--namespace", namespace, ...which);
  return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

/** The pods of istiod, those that wait too. */
export const istiodPods = (cluster: Cluster): Promise<Pod[]> => podsOf(cluster, "istio-system", "app=istiod");

/** Every container of these pods by what changes with each restart. */
export const lives = (pods: readonly Pod[]): string[] =>
  pods
    .flatMap(({ metadata, status }) =>
      (status.containerStatuses ?? []).map(
        ({ name, containerID, restartCount }) => `${metadata.name} ${name} ${containerID ?? ""} ${restartCount}`,
      ),
    )
    .sort();

/** PEM texts. */
export interface Identity {
  /** Leaf first, root not among them. */
  readonly chain: readonly string[];
  /** What its holder verifies others by. */
  readonly roots: readonly string[];
}

/** What the Envoy of a workload, found by its label `app`, uses now, by `istioctl proxy-config secret`. */
export async function identityOf(cluster: Cluster, app: string, namespace = "bookinfo"): Promise<Identity> {
  const { istioctl } = await ensureTools(["istioctl"]);
  const [pod] = await podsOf(cluster, namespace, `app=${app}`);
  const where = ["--kubeconfig", cluster.kubeconfig, "--context", cluster.name, "--namespace", namespace];
  const secrets = ["proxy-config", "secret", pod?.metadata.name ?? app, "--output", "json"];
  const output = await runCommand(istioctl, [...secrets, ...where]);
  const { dynamicActiveSecrets = [] } = JSON.parse(output) as { dynamicActiveSecrets?: EnvoySecret[] };
  const secret = (name: string) => dynamicActiveSecrets.find((each) => each.name === name)?.secret;
  const chain = certificatesIn(decoded(secret("default")?.tlsCertificate?.certificateChain));
  const roots = certificatesIn(decoded(secret("ROOTCA")?.validationContext?.trustedCa));
  return { chain, roots };
}

interface EnvoySecret {
  readonly name: string;
  readonly secret?: {
    readonly tlsCertificate?: { readonly certificateChain?: Bytes };
    readonly validationContext?: { readonly trustedCa?: Bytes };
  };
}

interface Bytes {
  readonly inlineBytes?: string;
}

const decoded = (bytes: Bytes | undefined): string => Buffer.from(bytes?.inlineBytes ?? "", "base64").toString("utf8");

/** Each certificate of a PEM text by itself. */
export const certificatesIn = (pem: string): string[] =>
  pem.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? [];

/** Throws openssl's words when this chain, leaf first, does not end in that root. */
export const verify = (chain: readonly string[], root: string): Promise<void> => opensslVerify(chain, root);

/** Serial number as openssl prints it. */
export async function serialOf(certificate: string): Promise<string> {
  return (await opensslX509(certificate, "-serial")).replace("serial=", "");
}

/** `sha256 Fingerprint` of the bytes of a certificate. */
export const fingerprintOf = (certificate: string): Promise<string> =>
  opensslX509(certificate, "-fingerprint", "-sha256");

/**
 * What an istiod pod answers when a workload asks it for a certificate: leaf, intermediate, root. The pod is asked by
 * its address, with Istio's own service definition; istiod itself is verified by `root`.
 */
export async function chainFrom(cluster: Cluster, istiod: Pod, root: string): Promise<readonly string[]> {
  await using folder = await temporaryFolder();
  await writeFile(folder.file("root.pem"), root);
  const { csr } = await opensslRequest("reviews");
  const token = await workloadToken(cluster);
  return await askIstiod(cluster, istiod, { csrPem: csr, token, rootFile: folder.file("root.pem") });
}

/** A token with which `reviews` is known to istiod. */
export async function workloadToken(cluster: Cluster): Promise<string> {
  const account = ["--namespace", "bookinfo", "--audience", "istio-ca"];
  return (await cluster.kubectl(["create", "token", "bookinfo-reviews", ...account])).trim();
}

/** What a workload tells istiod, and the file of the root that it verifies istiod by. */
export type WorkloadRequest = Pick<CertificateRequest, "csrPem" | "token" | "identity"> & { readonly rootFile: string };

/** Asks an istiod pod for a certificate as a workload of its cluster does; the chain with the root, leaf first. */
export function askIstiod(cluster: Cluster, istiod: Pod, request: WorkloadRequest): Promise<readonly string[]> {
  // The network alone: the files are on the host.
  const network = ["--target", String(cluster.node.pid), "--net"];
  return createCertificate({
    ...request,
    istiod: { secureGrpcAddress: `${istiod.status.podIP ?? ""}:15012` },
    run: (command, args, options) => runCommand("nsenter", [...network, "--", command, ...args], options),
  });
}

/** The root that a namespace's workloads are given to begin with. */
export async function handedOutRoot(cluster: Cluster, namespace = "bookinfo"): Promise<string> {
  const path = "jsonpath={.data.root-cert\\.pem}";
  return cluster.kubectl(["get", "configmap", "istio-ca-root-cert", "--namespace", namespace, "--output", path]);
}
