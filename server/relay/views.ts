import { ClusterSession, type GetIntentResponse, TypeSync } from "../../proto/gen/admin/v1/admin.ts";
import type { SessionRecord } from "../identity/session-store.ts";
import { digestOf, ISSUED_CERTIFICATE, type Versions } from "../../common/session/resource-set.ts";
import { viewResource, viewSurplus } from "./intent-view.ts";
import type { PushLedger } from "./push-ledger.ts";
import type { Desired, Parked } from "./push-machine.ts";
import type { Session } from "./session.ts";

/** What is known here of the agent whose session is shown. */
export interface ViewSources {
  readonly ledger: PushLedger;
  readonly desired: Desired;
  /** Name of this replica. */
  readonly replica: string;
}

/** A live session as people see it. */
export function viewSession(session: Session, { ledger, desired, replica }: ViewSources): ClusterSession {
  const { connectedAtMs, certificateNotAfterMs, capabilities, ...info } = session.info;
  return ClusterSession.fromPartial({
    ...info,
    identity: "ENROLLED",
    connected: true,
    replica,
    capabilities: [...capabilities],
    connectedAt: new Date(connectedAtMs),
    lastSeenAt: new Date(session.lastSeenMs),
    clockOffsetMs: BigInt(Math.round(session.clockOffsetMs)),
    outOfSync: ledger.isInSync ? [] : lateReasons([...ledger.machine.parked.values()]),
    certificateNotAfter: new Date(certificateNotAfterMs),
    types: [viewType(ledger, desired, session.unansweredSinceMs)],
  });
}

/** A session as it was recorded: of another replica, or one that has ended. `answers`: what its agent said, whoever heard it. */
export function viewRecord(
  record: SessionRecord | undefined,
  { resources }: Desired,
  answers: AgentAnswers | undefined,
): ClusterSession | undefined {
  if (!record) return undefined;
  const { cluster, connected, sessionId, epoch, peer, agentVersion, connectedAtMs, clockOffsetMs, ended } = record;
  const held = answers?.held;
  const isInSync = !held || [...resources].every(([key, { version }]) => held.get(key) === version);
  const type = {
    type: ISSUED_CERTIFICATE,
    wantedDigest: digestOf(versionsOf({ resources })),
    acknowledgedDigest: held ? digestOf(held) : Buffer.alloc(0),
    parked: answers?.parked.size ?? 0,
  };
  return ClusterSession.fromPartial({
    ...{ cluster, connected, sessionId, epoch, peer, agentVersion, replica: record.replica },
    connectedAt: new Date(connectedAtMs),
    clockOffsetMs: BigInt(Math.round(clockOffsetMs)),
    outOfSync: !connected || isInSync ? [] : lateReasons([...answers.parked.values()]),
    types: connected ? [type] : [],
    ...(connected || !ended ? {} : { endedAt: new Date(ended.atMs), endReason: ended.reason }),
  });
}

/** What an agent said to what it was sent, whoever heard it. */
export interface AgentAnswers {
  /** Version (hex) by key; undefined while it is not known. */
  readonly held: Versions | undefined;
  /** Why it refused the version in force, by key. */
  readonly parked: ReadonlyMap<string, Pick<Parked, "message"> & Partial<Parked>>;
}

export type IntentView = Omit<GetIntentResponse, "meshes">;

/** What a cluster shall hold as people see it, with what its agent said to it; `ledger`: where this replica heard it. */
export function viewIntent(desired: Desired, answers: AgentAnswers | undefined, ledger?: PushLedger): IntentView {
  const held = answers?.held;
  return {
    resources: [...desired.resources].map(([key, resource]) => viewResource(key, resource, { answers, ledger })),
    wantedDigest: digestOf(versionsOf(desired)),
    acknowledgedDigest: held ? digestOf(held) : Buffer.alloc(0),
    surplus: held ? viewSurplus(desired, held, ledger) : [],
  };
}

function viewType(ledger: PushLedger, desired: Desired, unansweredSinceMs: number): TypeSync {
  const { counts, lastPush, lastRefusal, wholeSetReason, machine } = ledger;
  const tookMs = lastPush?.answeredAtMs === undefined ? 0 : lastPush.answeredAtMs - lastPush.sentAtMs;
  return TypeSync.fromPartial({
    type: machine.type,
    wantedDigest: digestOf(versionsOf(desired)),
    acknowledgedDigest: machine.held ? digestOf(machine.held) : Buffer.alloc(0),
    inFlightSince: unansweredSinceMs === Infinity ? undefined : new Date(unansweredSinceMs),
    parked: machine.parked.size,
    pushesSent: BigInt(counts.sent),
    pushesAnswered: BigInt(counts.answered),
    resourcesAcknowledged: BigInt(counts.acknowledged),
    resourcesRejected: BigInt(counts.rejected),
    wholeSets: BigInt(counts.wholeSets),
    lastWholeSetReason: wholeSetReason,
    ...(lastPush && { lastPushAt: new Date(lastPush.sentAtMs), lastPushBytes: lastPush.bytes }),
    lastPushMilliseconds: Math.max(0, Math.round(tookMs)),
    ...(lastRefusal && { lastRefusal: lastRefusal.text, lastRefusalAt: new Date(lastRefusal.atMs) }),
  });
}

const versionsOf = ({ resources }: Pick<Desired, "resources">): Versions =>
  new Map([...resources].map(([key, { version }]) => [key, version]));

/** Why an agent does not hold what it shall. */
function lateReasons(parked: readonly (Pick<Parked, "message"> & Partial<Parked>)[]): string[] {
  const refusals = parked.map(({ code, message }) => (code === undefined ? message : `${code}: ${message}`));
  return refusals.length > 0 ? refusals : ["a push is under way"];
}
