import { type Clock, systemClock } from "../../common/runtime/clock.ts";
import type { Caller, MethodTable } from "../../common/session/server.ts";
import type { PeerIdentity } from "../../common/session/tls.ts";
import { RateLimit } from "./rate-limit.ts";
import type { ClusterRegistry } from "./registry.ts";

/** Principal of a call that a cluster's agent makes. */
export interface ClusterPrincipal {
  readonly cluster: string;
  readonly peer: PeerIdentity;
}

/** Principal of a call that a person makes. */
export interface OperatorPrincipal {
  /** Name in the operator's certificate, or the local listener that let the caller in. */
  readonly operator: string;
}

type Rule = (caller: Caller) => unknown;

/** How often one caller may call: so many at once, then so many a second. Or the handler counts, which knows more. */
type Rate = { readonly perSecond: number; readonly burst: number } | "by its handler";

/** Who may call a method that strangers can reach, and how often: neither is left to chance. */
interface Entry {
  readonly rule: (caller: Caller) => OperatorPrincipal | ClusterPrincipal | Promise<ClusterPrincipal> | undefined;
  readonly rate: Rate;
}

const READING: Rate = { perSecond: 50, burst: 500 };
const CHANGING: Rate = { perSecond: 10, burst: 100 };

/** The rule, with the rate behind it: who is refused uses up nothing. */
function rated(entries: Readonly<Record<string, Entry>>, clock: Clock): MethodTable {
  const withRate = ([method, { rule, rate }]: [string, Entry]): [string, Rule] => {
    if (rate === "by its handler") return [method, rule];
    const limit = new RateLimit({ clock, ...rate, what: `calls of ${method}` });
    return [
      method,
      async (caller) => {
        const principal = await rule(caller);
        limit.take(principal === undefined ? "" : "operator" in principal ? principal.operator : principal.cluster);
        return principal;
      },
    ];
  };
  return Object.fromEntries(Object.entries(entries).map(withRate));
}

const debugMethods = <T>(entry: T) => ({
  "/grpc.reflection.v1.ServerReflection/*": entry,
  "/grpc.reflection.v1alpha.ServerReflection/*": entry,
  "/grpc.health.v1.Health/*": entry,
});

/** 9900: agents have their session, operators the rest. */
export function relayMethods(registry: ClusterRegistry, clock: Clock = systemClock): MethodTable {
  const cluster = async ({ certificate }: Caller): Promise<ClusterPrincipal> => {
    const peer = registry.peerOf(certificate);
    return { cluster: (await registry.admit(peer)).name, peer };
  };
  const operator = ({ certificate }: Caller): OperatorPrincipal => ({
    operator: registry.admitOperator(certificate),
  });
  const entries: Readonly<Record<string, Entry>> = {
    "/relay.v1.RelayService/Connect": { rule: cluster, rate: "by its handler" },
    "/relay.v1.RelayService/RenewCertificate": { rule: cluster, rate: "by its handler" },
    "/admin.v1.AdminService/*": { rule: operator, rate: READING },
    "/admin.v1.RegistryService/*": { rule: operator, rate: CHANGING },
    ...debugMethods({ rule: operator, rate: READING }),
  };
  return rated(entries, clock);
}

/** 9901: one method, for callers that nobody knows yet; its handler counts them by address. */
export const enrollmentMethods: MethodTable = { "/enrollment.v1.EnrollmentService/Enroll": () => undefined };

const local =
  (listener: string): Rule =>
  (): OperatorPrincipal => ({ operator: listener });

/** 11100 on loopback: whoever is on this machine may read. */
export const adminReadMethods: MethodTable = {
  "/admin.v1.AdminService/*": local("loopback"),
  "/grpc.channelz.v1.Channelz/*": local("loopback"),
  ...debugMethods(local("loopback")),
};

/** The Unix socket of mode 0600: whoever may open it may change things. */
export const adminSocketMethods: MethodTable = {
  "/admin.v1.AdminService/*": local("admin socket"),
  "/admin.v1.RegistryService/*": local("admin socket"),
  ...debugMethods(local("admin socket")),
};
