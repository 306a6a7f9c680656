import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { IssuedCertificate, IssuedCertificateReplica } from "../../common/api/certificates.ts";
import { mergeObject, readObject } from "../../common/kube/objects.ts";
import { KubeClient } from "../../common/kube/client.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { answersOf } from "./vault-audit.ts";

/** What a change of the VirtualMesh took in one cluster. */
export interface ClusterFigure {
  readonly context: string;
  /** From the change until every istiod was seen to sign with its new certificate authority, and said so. */
  readonly provedMs: number;
  /** What Vault took for its answers, by its own audit log. */
  readonly vaultMs: number;
  /** `provedMs` beside Vault's own time and the window in which istiod gathers changes of its files. */
  readonly ratio: number;
}

/** istiod waits so long for further changes of its files before it reads them. */
export const ISTIOD_WINDOW_MS = 100;

const NAMESPACE = "gloo-mesh";
const VIRTUAL_MESH = { apiVersion: "networking.mesh.gloo.solo.io/v1", kind: "VirtualMesh", plural: "virtualmeshes" };
const CERTIFICATE = {
  apiVersion: "certificates.mesh.gloo.solo.io/v1",
  kind: "IssuedCertificate",
  plural: "issuedcertificates",
};
const POLL_MS = 20;
const TIMEOUT_MS = 180_000;

/** Has Vault keep record of its answers in its own pod, for as long as the measurement takes. */
const AUDIT_FILE = "/home/vault/guide-figure-audit.log";
const AUDIT_ON = `rm -f ${AUDIT_FILE}; vault audit enable -path=guide-figure file file_path=${AUDIT_FILE}`;
const AUDIT_OFF = `vault audit disable guide-figure && cat ${AUDIT_FILE} && rm ${AUDIT_FILE}`;

/** Where and with what to measure. */
export interface FigureOptions {
  readonly kubeconfig: string;
  readonly contexts: readonly [first: string, second: string];
  /** Any other life than the one in force has new certificate authorities issued. */
  readonly ttlDays: number;
  readonly clock: Clock;
}

/** Changes the VirtualMesh of the guide on clusters where it was walked, and measures until both istiods are proved to sign. */
export async function measureChange(options: FigureOptions, signal: AbortSignal): Promise<readonly ClusterFigure[]> {
  const { kubeconfig, contexts, ttlDays, clock } = options;
  await using stack = new AsyncDisposableStack();
  const clients = contexts.map((context) => {
    const client = KubeClient.open(kubeconfig, context);
    stack.defer(() => client.close());
    return { context, client };
  });
  const before = await Promise.all(clients.map(({ client }) => certificateOf(client, signal)));
  await Promise.all(clients.map(({ client }) => inVault(client, AUDIT_ON, signal)));
  const startMs = clock.now();
  const shared = { intermediateCertOptions: { ttlDays } };
  const place = { namespace: NAMESPACE, name: "virtual-mesh" };
  const change = { type: VIRTUAL_MESH, place, patch: { spec: { mtlsConfig: { shared } } }, fieldManager: "kubectl" };
  const [management] = clients;
  if (management) await mergeObject(management.client, change, signal);
  const ended = await Promise.all(
    clients.map(async ({ client }, index) => {
      await untilProved(client, replicasOf(before[index]), options, signal);
      return clock.now() - startMs;
    }),
  );
  return await Promise.all(
    clients.map(async ({ context, client }, index) => {
      const answers = answersOf(await inVault(client, AUDIT_OFF, signal));
      const vaultMs = answers.reduce((sum, { tookMs }) => sum + tookMs, 0);
      const provedMs = ended[index] ?? 0;
      return { context, provedMs, vaultMs, ratio: provedMs / (vaultMs + ISTIOD_WINDOW_MS) };
    }),
  );
}

async function certificateOf(client: KubeClient, signal: AbortSignal): Promise<IssuedCertificate> {
  const what = `list ${CERTIFICATE.plural}`;
  const path = `/apis/${CERTIFICATE.apiVersion}/namespaces/${NAMESPACE}/${CERTIFICATE.plural}`;
  const { items } = (await client.call({ what, method: "GET", path }, signal)) as { items: IssuedCertificate[] };
  const [only] = items;
  if (only && replicasOf(only).length > 0) return only;
  throw new MeshError("failed_precondition", `no istiod of ${client.context} has a certificate`, {
    hint: "walk through the guide first: npm run guide",
  });
}

const replicasOf = (certificate: IssuedCertificate | undefined): readonly IssuedCertificateReplica[] =>
  (certificate?.status?.replicas ?? []).filter(({ connected }) => connected === true);

/** Pure: whether every one of these istiods is proved to sign with another certificate than before. */
export function areRenewed(
  before: readonly IssuedCertificateReplica[],
  now: readonly IssuedCertificateReplica[],
): boolean {
  return before.every(({ podUid, serial }) =>
    now.some((each) => each.podUid === podUid && each.state === "FINISHED" && each.serial !== serial),
  );
}

async function untilProved(
  client: KubeClient,
  before: readonly IssuedCertificateReplica[],
  { clock }: FigureOptions,
  signal: AbortSignal,
): Promise<void> {
  const { metadata } = await certificateOf(client, signal);
  const place = { namespace: NAMESPACE, name: metadata.name };
  for (const deadline = clock.now() + TIMEOUT_MS; clock.now() < deadline; await clock.sleep(POLL_MS, signal)) {
    const now = (await readObject(client, CERTIFICATE, place, signal)) as IssuedCertificate | undefined;
    if (areRenewed(before, replicasOf(now))) return;
  }
  throw new MeshError("deadline_exceeded", `istiod of ${client.context} was not proved to sign within 180 s`, {
    hint: "meshctl status says what it waits for",
  });
}

async function inVault(client: KubeClient, script: string, signal: AbortSignal): Promise<string> {
  const stdout = new PassThrough();
  const command = ["/bin/sh", "-c", script];
  const place = { namespace: "vault", pod: "vault-0", container: "vault" };
  const [said] = await Promise.all([
    text(stdout),
    client.exec({ ...place, command, stdin: Readable.from([]), stdout }, signal),
  ]);
  return said.slice(Math.max(0, said.indexOf("{")));
}
