import type { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { IstiodServiceService, type IstiodServiceServer } from "../../proto/gen/istiod/v1/istiod.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Log } from "../../common/runtime/log.ts";
import { bidi, unary, type CallContext } from "../../common/session/handlers.ts";
import type { Caller, MethodTable } from "../../common/session/server.ts";
import type { Admission } from "./admission.ts";
import { type ClaimPod, serveLink } from "./link-session.ts";
import type { LinkBook } from "./links.ts";
import { podFields, type RefusedCaller, type Refusals } from "./refusals.ts";
import type { PodIdentity, TokenReviewer } from "./token-reviewer.ts";

export const ISTIOD_SERVICE = "istiod.v1.IstiodService";

export interface IstiodServiceOptions {
  readonly book: LinkBook;
  /** All pods of the cluster that are known, for people. */
  readonly list: ListReplicas;
  /** Asked before a link is opened. */
  readonly claim: ClaimPod;
  readonly refusals: Refusals;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborted when the agent stops: links end with UNAVAILABLE, and their pods try again. */
  readonly stopping: AbortSignal;
}

/** Status of each certificate, and a last one without a name for pods that have no order. */
export type ListReplicas = () => readonly IssuedCertificateStatus[];

type Context = CallContext<PodIdentity>;

/** The methods of 9977. Their principal is the PodIdentity that `methodsOf` found in the caller's token. */
export function istiodService(options: IstiodServiceOptions): IstiodServiceServer {
  const { book, list } = options;
  return {
    link: bidi((requests, send, context: Context) => serveLink({ ...options, requests, send, context })),
    getOrder: unary(async (_request, { principal }: Context) => {
      const assignment = book.assignment(principal);
      if (assignment.kind === "none") throw new MeshError("not_found", assignment.reason);
      return { order: assignment.order };
    }),
    listReplicas: listing(list),
  };
}

const listing = (list: ListReplicas) => unary(async () => ({ certificates: [...list()] }));

/** The methods of the debug listener; `debugMethods` lets nobody reach the others. */
export function debugService(list: ListReplicas): IstiodServiceServer {
  const refuse = async (): Promise<never> => {
    throw new MeshError("unimplemented", "served on 9977 only");
  };
  return { link: bidi(refuse), getOrder: unary(refuse), listReplicas: listing(list) };
}

/** What decides about callers of 9977. */
export interface CallerRules {
  readonly reviewer: TokenReviewer;
  readonly admission: Admission;
  readonly refusals: Refusals;
}

/** Who may call what: istiod's pods the service, any accepted token reflection and health. */
export function methodsOf({ reviewer, admission, refusals }: CallerRules): MethodTable {
  const told = async <T>(caller: RefusedCaller, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      refusals.tell(caller, error);
      throw error;
    }
  };
  const anyToken = (caller: Caller): Promise<PodIdentity> =>
    told({ peer: caller.peer }, async () => reviewer.review(bearerToken(caller)));
  const istiodOnly = async (caller: Caller): Promise<PodIdentity> => {
    const pod = await anyToken(caller);
    return told({ peer: caller.peer, ...podFields(pod) }, () => admission.admit(pod));
  };
  const ours = Object.values(IstiodServiceService).map(({ path }) => [path, istiodOnly] as const);
  const debug = [
    "/grpc.reflection.v1.ServerReflection/*",
    "/grpc.reflection.v1alpha.ServerReflection/*",
    "/grpc.health.v1.Health/*",
  ];
  return Object.fromEntries([...ours, ...debug.map((path) => [path, anyToken] as const)]);
}

function bearerToken({ metadata }: Caller): string {
  const [header, ...others] = metadata.get("authorization");
  const token = /^Bearer +(\S+)$/i.exec(typeof header === "string" ? header : "")?.[1];
  if (token !== undefined && others.length === 0) return token;
  throw new MeshError("unauthenticated", "no bearer token was shown", {
    hint: "send the header authorization: Bearer with a pod-bound service account token for audience enterprise-agent",
  });
}

/** The debug listener on loopback: reading only, for whoever is on the machine. */
export const debugMethods: MethodTable = Object.fromEntries(
  [
    IstiodServiceService.listReplicas.path,
    "/grpc.reflection.v1.ServerReflection/*",
    "/grpc.reflection.v1alpha.ServerReflection/*",
    "/grpc.health.v1.Health/*",
    "/grpc.channelz.v1.Channelz/*",
  ].map((path) => [path, () => undefined]),
);
