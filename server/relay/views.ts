import { ClusterSession, type GetIntentResponse } from "../../proto/gen/admin/v1/admin.ts";
import { IssuedCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import type { SessionRecord } from "../identity/session-store.ts";
import { digestOf, type Versions } from "../../common/session/resource-set.ts";
import type { Desired, PushMachine } from "./push-machine.ts";
import type { Session } from "./session.ts";

/** A live session as people see it. */
export function viewSession(session: Session, machine: PushMachine | undefined): ClusterSession {
  const { cluster, sessionId, epoch, peer, agentVersion, connectedAtMs, certificateNotAfterMs } = session.info;
  return {
    cluster,
    identity: "ENROLLED",
    connected: true,
    sessionId,
    epoch,
    peer,
    agentVersion,
    connectedAt: new Date(connectedAtMs),
    lastSeenAt: new Date(session.lastSeenMs),
    clockOffsetMs: BigInt(Math.round(session.clockOffsetMs)),
    outOfSync: machine ? outOfSync(machine) : [],
    certificateNotAfter: new Date(certificateNotAfterMs),
  };
}

/** A session as it was recorded: of another replica, or one that has ended. */
export function viewRecord(record: SessionRecord | undefined): ClusterSession | undefined {
  if (!record) return undefined;
  const { cluster, connected, sessionId, epoch, peer, agentVersion, connectedAtMs, clockOffsetMs } = record;
  return ClusterSession.fromPartial({
    ...{ cluster, connected, sessionId, epoch, peer, agentVersion },
    connectedAt: new Date(connectedAtMs),
    clockOffsetMs: BigInt(Math.round(clockOffsetMs)),
  });
}

/** What an agent said to what it was sent, whoever heard it. */
export interface AgentAnswers {
  /** Version (hex) by key; undefined while it is not known. */
  readonly held: Versions | undefined;
  /** Why it refused the version in force, by key. */
  readonly parked: ReadonlyMap<string, { readonly message: string }>;
}

/** What a cluster shall hold as people see it, with what its agent said to it. */
export function viewIntent({ resources }: Desired, answers: AgentAnswers | undefined): GetIntentResponse {
  const held = answers?.held;
  return {
    resources: [...resources].map(([key, { content, version }]) => ({
      certificate: IssuedCertificate.decode(content),
      version: Buffer.from(version, "hex"),
      acknowledged: held?.get(key) === version,
      rejected: answers?.parked.get(key)?.message ?? "",
    })),
    wantedDigest: digestOf(new Map([...resources].map(([key, { version }]) => [key, version]))),
    acknowledgedDigest: held ? digestOf(held) : Buffer.alloc(0),
  };
}

function outOfSync(machine: PushMachine): string[] {
  if (machine.inSync) return [];
  const refusals = [...machine.parked.values()].map(({ code, message }) => `${code}: ${message}`);
  return refusals.length > 0 ? refusals : ["a push is under way"];
}
