import { IstiodServiceService, type IstiodServiceServer } from "../../proto/gen/istiod/v1/istiod.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Log } from "../../common/runtime/log.ts";
import { bidi, unary, type CallContext } from "../../common/session/handlers.ts";
import type { Caller, MethodTable } from "../../common/session/server.ts";
import { serveLink } from "./link-session.ts";
import type { LinkBook } from "./links.ts";
import type { PodIdentity, TokenReviewer } from "./token-reviewer.ts";

export const ISTIOD_SERVICE = "istiod.v1.IstiodService";

export interface IstiodServiceOptions {
  readonly book: LinkBook;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborted when the agent stops: links end with UNAVAILABLE, and their pods try again. */
  readonly stopping: AbortSignal;
}

type Context = CallContext<PodIdentity>;

/** The methods of 9977. Their principal is the PodIdentity that `methodsOf` found in the caller's token. */
export function istiodService(options: IstiodServiceOptions): IstiodServiceServer {
  const { book } = options;
  return {
    link: bidi((requests, send, context: Context) => serveLink({ ...options, requests, send, context })),
    getOrder: unary(async (_request, { principal }: Context) => {
      const assignment = book.assignment(principal);
      if (assignment.kind === "none") throw new MeshError("not_found", assignment.reason);
      return { order: assignment.order };
    }),
    listReplicas: unary(async () => ({ certificates: [...book.list()] })),
  };
}

/** Who may run istiod: names of service accounts as "namespace/name". */
export type AllowedAccounts = readonly string[];

/** Who may call what: istiod's accounts the service, any accepted token reflection and health. */
export function methodsOf(reviewer: TokenReviewer, accounts: AllowedAccounts): MethodTable {
  const anyToken = (caller: Caller): Promise<PodIdentity> => reviewer.review(bearerToken(caller));
  const istiodOnly = async (caller: Caller): Promise<PodIdentity> => {
    const pod = await anyToken(caller);
    const account = `${pod.podNamespace}/${pod.serviceAccount}`;
    if (accounts.includes(account)) return pod;
    throw new MeshError("permission_denied", `service account ${account} is not one that istiod runs as`, {
      hint: `allowed are ${accounts.join(", ")}; add it to the agent's istiod accounts if istiod runs as it`,
    });
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
