import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { type Send, serverStream, unary } from "../../common/session/handlers.ts";
import { splitStatus } from "../../common/session/status-parts.ts";
import {
  type AdminServiceServer,
  ClusterSession,
  type GetIntentRequest,
  GetIntentResponse,
  type IssueOperatorCertificateRequest,
  type IssueOperatorCertificateResponse,
  type ListSessionsRequest,
  type ListSessionsResponse,
  type RegisterClusterRequest,
  type RegisterClusterResponse,
  type RegistryServiceServer,
  type RevokeClusterRequest,
  type RevokeClusterResponse,
  type RotateRelayCaRequest,
  type RotateRelayCaResponse,
  type VirtualMeshStatus,
  type WatchStatusRequest,
  type WatchStatusResponse,
} from "../../proto/gen/admin/v1/admin.ts";
import type { ClusterRecord } from "../identity/records.ts";
import type { ClusterRegistry } from "../identity/registry.ts";
import type { RelayCaRotation } from "../identity/rotation.ts";
import { fromWire, relayCa } from "./relay-ca.ts";

/** Status of everything at one moment. */
export interface MeshesStatus {
  readonly virtualMeshes: readonly VirtualMeshStatus[];
  /** Faults of the sources, one line each. */
  readonly sourceProblems: readonly string[];
}

/** What the admin API shows; the relay and the status room provide it. */
export interface AdminSources {
  /** What is in force first, then each change, in order of namespace and name. Ends when `signal` is aborted. */
  watchStatus(signal: AbortSignal): AsyncIterable<MeshesStatus>;
  /** The session that a cluster has or had last; `identity` and `certificateNotAfter` are filled in here. */
  session(cluster: string): ClusterSession | undefined;
  /** undefined for a cluster of which neither an intent nor a mesh is known. */
  getIntent(cluster: string): GetIntentResponse | undefined;
}

/** A status that takes several messages is not sent sooner again: with thousands of clusters there is always some change. */
const LARGE_INTERVAL_MS = 1_000;

export interface AdminDeps {
  readonly sources: AdminSources;
  readonly registry: ClusterRegistry;
  readonly rotation: RelayCaRotation;
  readonly clock: Clock;
}

/** What people may read. */
export function adminService({ sources, registry, rotation, clock }: AdminDeps): AdminServiceServer {
  return {
    watchStatus: serverStream<WatchStatusRequest, WatchStatusResponse, unknown>(
      async ({ virtualMesh: only, cluster, inParts }, send, { signal }) => {
        for await (const { virtualMeshes: all, sourceProblems } of sources.watchStatus(signal)) {
          const asked = all.filter(
            ({ name }) => !only || (name?.namespace === only.namespace && name.name === only.name),
          );
          const virtualMeshes = cluster === "" ? asked : asked.map((each) => onlyOf(each, cluster));
          const serverTime = new Date(clock.now());
          const whole = { virtualMeshes, serverTime, sourceProblems: [...sourceProblems], more: false };
          if (!inParts) await send(whole);
          else if ((await sendInParts(whole, send)) > 1) await clock.sleep(LARGE_INTERVAL_MS, signal);
        }
      },
    ),
    listSessions: unary(async (request: ListSessionsRequest): Promise<ListSessionsResponse> => ({
      sessions: pageOf(registry.list(), request).map((record) => toSession(record, sources.session(record.name))),
    })),
    getIntent: unary(async ({ cluster }: GetIntentRequest): Promise<GetIntentResponse> => {
      const intent = sources.getIntent(cluster);
      if (intent) return intent;
      if (registry.get(cluster)) return GetIntentResponse.create();
      throw new MeshError("not_found", `cluster ${cluster} is not registered`, {
        hint: "see which are: meshctl cluster list",
      });
    }),
    getRelayCa: unary(async () => ({ ca: relayCa(rotation, sources) })),
  };
}

/**
 * Each part in a turn of the event loop of its own, so that the sessions get theirs between them, and none is made before
 * there is room for it. Returns how many there were.
 */
async function sendInParts(whole: WatchStatusResponse, send: Send<WatchStatusResponse>): Promise<number> {
  let sent = 0;
  for (const part of splitStatus(whole)) {
    if (sent > 0) await nextTurn();
    await send(part);
    sent += 1;
  }
  return sent;
}

/** A VirtualMesh with what is told of one cluster. */
function onlyOf(status: VirtualMeshStatus, cluster: string): VirtualMeshStatus {
  return { ...status, clusters: status.clusters.filter((each) => each.cluster === cluster) };
}

/** Of records in order of name those that are asked for. */
function pageOf(all: readonly ClusterRecord[], { cluster, after, limit }: ListSessionsRequest): ClusterRecord[] {
  const found = all.filter(({ name }) => (cluster === "" || name === cluster) && name > after);
  return limit === 0 ? found : found.slice(0, limit);
}

function toSession({ name, state, current, next }: ClusterRecord, live: ClusterSession | undefined): ClusterSession {
  const certificate = current ?? next;
  return {
    ...(live ?? ClusterSession.create({ cluster: name })),
    identity: state,
    certificateNotAfter: certificate && new Date(certificate.notAfterMs),
  };
}

/** What operators may change. */
export function registryService({ sources, registry, rotation }: Omit<AdminDeps, "clock">): RegistryServiceServer {
  const { ca } = rotation;
  return {
    registerCluster: unary(async (request: RegisterClusterRequest): Promise<RegisterClusterResponse> => {
      const { cluster, tokenTtlSeconds, renewToken } = request;
      const token = await registry.register(cluster, { ttlMs: tokenTtlSeconds * 1000, renew: renewToken });
      return {
        token: token.text,
        tokenExpiresAt: new Date(token.expiresAtMs),
        trustBundle: ca.trustBundlePem,
        trustPin: ca.trustPin,
      };
    }),
    revokeCluster: unary(async ({ cluster }: RevokeClusterRequest): Promise<RevokeClusterResponse> => ({
      sessionClosed: await registry.revoke(cluster),
    })),
    issueOperatorCertificate: unary(
      async (request: IssueOperatorCertificateRequest): Promise<IssueOperatorCertificateResponse> => {
        const signed = await registry.issueOperator(request.operator, request.certificateSigningRequest);
        return {
          certificateChain: signed.chainPem,
          trustBundle: signed.trustBundlePem,
          notAfter: new Date(signed.notAfterMs),
        };
      },
    ),
    rotateRelayCa: unary(async ({ from, force }: RotateRelayCaRequest): Promise<RotateRelayCaResponse> => {
      await rotation.advance(fromWire(from), { force });
      return { ca: relayCa(rotation, sources) };
    }),
  };
}
