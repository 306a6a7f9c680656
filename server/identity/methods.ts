import type { Caller, MethodTable } from "../../common/session/server.ts";
import type { PeerIdentity } from "../../common/session/tls.ts";
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

const debugMethods = (rule: Rule): MethodTable => ({
  "/grpc.reflection.v1.ServerReflection/*": rule,
  "/grpc.reflection.v1alpha.ServerReflection/*": rule,
  "/grpc.health.v1.Health/*": rule,
});

/** 9900: agents have their session, operators the rest. */
export function relayMethods(registry: ClusterRegistry): MethodTable {
  const cluster = async ({ certificate }: Caller): Promise<ClusterPrincipal> => {
    const peer = registry.peerOf(certificate);
    return { cluster: (await registry.admit(peer)).name, peer };
  };
  const operator = ({ certificate }: Caller): OperatorPrincipal => ({
    operator: registry.admitOperator(certificate),
  });
  return {
    "/relay.v1.RelayService/Connect": cluster,
    "/relay.v1.RelayService/RenewCertificate": cluster,
    "/admin.v1.AdminService/*": operator,
    "/admin.v1.RegistryService/*": operator,
    ...debugMethods(operator),
  };
}

/** 9901: one method, for callers that nobody knows yet. */
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
