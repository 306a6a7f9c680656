import { printableLine } from "../common/runtime/printable.ts";
import type { ClusterSession } from "../proto/gen/admin/v1/admin.ts";
import type { CertificateExplanation, Explanation, IstiodExplanation } from "./explain.ts";
import { formatTime } from "./output.ts";

const LABEL_WIDTH = 10;

/** An explanation for people, a paragraph for the cluster and one for each certificate. */
export function formatExplanation({ cluster, session, certificates, sourceProblems, next }: Explanation): string {
  const head = [
    printableLine(`cluster ${cluster} ${describeSession(session)}`),
    ...(next === "" ? [] : [row("next", next)]),
  ];
  const problems = sourceProblems.map((problem) => row("refused", `${problem} (the last good form stays in force)`));
  const paragraphs = [
    head,
    ...(problems.length > 0 ? [["sources", ...problems]] : []),
    ...certificates.map(paragraphOf),
  ];
  return paragraphs.map((lines) => lines.join("\n")).join("\n\n");
}

function describeSession(session: ClusterSession | undefined): string {
  if (!session) return "is not registered";
  const { identity, connected, connectedAt, agentVersion, replica, endedAt, endReason } = session;
  if (connected) {
    const where = replica === "" ? "" : ` to ${replica}`;
    return `is connected${where} since ${formatTime(connectedAt)}, agent ${agentVersion}`;
  }
  const last = endedAt ? `; its last session ended at ${formatTime(endedAt)}: ${endReason}` : "";
  return `is ${identity.toLowerCase()} and not connected${last}`;
}

function paragraphOf(certificate: CertificateExplanation): string[] {
  const { name, stage, why, wantedVersion, heldVersion, refusal, istiods, next } = certificate;
  const held = heldVersion === wantedVersion ? undefined : describeHeld(heldVersion);
  return [
    printableLine(`${name}: ${stage}`),
    ...why.map((sentence, index) => row(index === 0 ? "why" : "", sentence)),
    ...(wantedVersion ? [row("wanted", `version ${short(wantedVersion)}`)] : []),
    ...(held && stage !== "unwanted" ? [row("held", held)] : []),
    ...delivery(certificate),
    ...(refusal ? [row("refused", describeRefusal(refusal))] : []),
    ...istiods.map((istiod, index) => row(index === 0 ? "istiods" : "", describeIstiod(istiod))),
    row("next", next),
  ];
}

function delivery({ stage, sentAt, answeredAt }: CertificateExplanation): string[] {
  if (stage === "unwanted") return [];
  const isStored = stage === "stored" || stage === "in use";
  if (!sentAt) return isStored ? [row("stored", "its agent holds it; when it was sent is not known here")] : [];
  const answer = isStored ? "stored" : "answered";
  const isLost = stage === "waiting" && !answeredAt;
  return [
    row("sent", `${formatTime(sentAt)}${isLost ? ", in a session that ended before an answer" : ""}`),
    ...(answeredAt ? [row(answer, formatTime(answeredAt))] : []),
  ];
}

/** undefined: what the agent holds is not known. */
function describeHeld(version: string | undefined): string {
  if (version === undefined) return "not known";
  return version === "" ? "none" : `version ${short(version)}; what differs: meshctl relay diff`;
}

function describeRefusal({ code, message, times }: NonNullable<CertificateExplanation["refusal"]>): string {
  const text = code === "" ? message : `${code}: ${message}`;
  return times > 1 ? `${text} (${times} times)` : text;
}

function describeIstiod({ pod, state, connected, serial, notAfter, says }: IstiodExplanation): string {
  const life = serial === "" ? [] : [`serial ${serial}`, `valid until ${formatTime(notAfter)}`];
  return [
    `${pod} ${state}`,
    ...life,
    ...(connected ? [] : ["its istiod-agent is away"]),
    ...(says === "" ? [] : [says]),
  ].join(", ");
}

const row = (label: string, text: string): string => `  ${label.padEnd(LABEL_WIDTH)}${printableLine(text)}`;

const short = (version: string): string => version.slice(0, 12);
