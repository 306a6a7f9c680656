import type { ClusterSession } from "../proto/gen/admin/v1/admin.ts";
import type { CertificateExplanation, IstiodExplanation } from "./explain.ts";
import { formatTime } from "./output.ts";

/** What comes next for a cluster as a whole, and who has to do it; empty where its certificates say it. */
export function nextOfCluster(session: ClusterSession | undefined, cluster: string, hasMeshes: boolean): string {
  if (!session) return `register it: meshctl cluster register ${cluster}`;
  const away = awayOf(session);
  if (away !== undefined) return away;
  return hasMeshes
    ? ""
    : "no Mesh of this cluster is known: its agent has found no istiod there yet, or nobody has written its Mesh";
}

/** What comes next for one certificate. */
export function nextOfCertificate(
  { stage, refusal, istiods }: Pick<CertificateExplanation, "stage" | "refusal" | "istiods">,
  session: ClusterSession | undefined,
): string {
  if (session?.identity === "REVOKED") {
    return "nothing is sent or heard before the cluster is let in again; its agent goes on with what it holds";
  }
  if (stage === "in use") return "nothing is left to do: every istiod was seen to sign with it";
  if (stage === "stored") return nextOfIstiods(istiods);
  if (!session?.connected) return "it is sent when the agent is connected";
  if (stage === "refused") {
    const change = "mend what the agent says; a changed version is sent at once";
    return refusal?.retryAt ? `it is sent again at ${formatTime(refusal.retryAt)}; ${change}` : change;
  }
  return stage === "sent"
    ? "the agent's answer; a session whose agent does not answer within a minute is ended and begins anew"
    : "it is about to be sent; should it stay so, see whether the session lives: meshctl relay sessions";
}

/** Why a cluster gets nothing new, and what helps; undefined while its agent is connected. */
function awayOf({ cluster, identity, connected }: ClusterSession): string | undefined {
  if (connected) return undefined;
  if (identity === "REVOKED")
    return `its identity was taken away; to let it in: meshctl cluster register ${cluster} --renew-token`;
  if (identity === "REGISTERED") {
    return `its agent has not enrolled: start it with its token, or make a new one: meshctl cluster register ${cluster}`;
  }
  return "its agent is away, and goes on with what it holds; see its log, line `no session`";
}

function nextOfIstiods(istiods: readonly IstiodExplanation[]): string {
  if (istiods.length === 0) {
    return "an istiod has to ask for it: see the log of the istiod-agent beside it, line `no link to the agent`";
  }
  const failed = istiods.find(({ hint }) => hint !== undefined);
  if (failed) return `${failed.pod}: ${failed.hint ?? ""}`;
  const late = istiods.filter(({ state }) => state !== "FINISHED").map(({ pod }) => pod);
  return late.length > 0
    ? `${late.join(", ")} has to finish; what it says stands above`
    : "the istiod-agents report what they did";
}
