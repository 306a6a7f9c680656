import { refKey } from "../../common/api/meta.ts";
import type { AcceptedIntent, ConditionFact, Verdict } from "../intent/verdict.ts";
import { quoted, someOf } from "../intent/naming.ts";
import type { CertificateReport } from "./report.ts";

/**
 * The condition `Applied`: how many clusters hold which generation, and why the others do not. True when the generation
 * that people see is in every cluster that it names; a cluster that holds what an older generation asks for counts when the
 * newer one asks the same of it.
 */
export function appliedFact(
  verdict: Verdict,
  { generation }: AcceptedIntent,
  reports: readonly CertificateReport[],
): ConditionFact {
  const { late, reasons } = describeLate(reports);
  const clusters = new Set(reports.map(({ cluster }) => cluster)).size;
  const others = [...reasons, ...describeAbsent(verdict)];
  const isRefused = verdict.generation !== generation;
  if (isRefused) others.push(`generation ${verdict.generation} is refused, no cluster gets it`);
  const count = `${clusters - late} of ${clusters} clusters applied generation ${generation}`;
  const reason = isRefused ? "NotAccepted" : late > 0 ? "WaitingForClusters" : "WaitingForMeshes";
  return {
    type: "Applied",
    status: others.length === 0 ? "True" : "False",
    observedGeneration: verdict.generation,
    reason: others.length === 0 ? "AllApplied" : reason,
    message: [count, ...others].join("; "),
  };
}

/** Why clusters hold something else, by cluster. Of several meshes in one cluster, a refusal tells the most. */
function lateClusters(reports: readonly CertificateReport[]): Map<string, string> {
  const late = new Map<string, string>();
  for (const report of reports) {
    if (report.applied) continue;
    const isTold = late.has(report.cluster) && report.rejected === undefined;
    if (!isTold) late.set(report.cluster, whyLate(report));
  }
  return late;
}

function whyLate({ connected, revoked, rejected }: CertificateReport): string {
  if (revoked) return "revoked";
  if (!connected) return "not connected";
  return rejected === undefined ? "in progress" : `refused (${quoted(rejected)})`;
}

/**
 * How many clusters do not hold what is in force, and why: at most one sentence, in which each reason has the clusters that it
 * holds for.
 */
export function describeLate(reports: readonly CertificateReport[]): { late: number; reasons: string[] } {
  const late = lateClusters(reports);
  const byReason = Map.groupBy([...late.keys()].sort(), (cluster) => late.get(cluster) ?? "");
  const parts = [...byReason].map(([reason, clusters]) => `${reason}: ${someOf(clusters)}`);
  return { late: late.size, reasons: parts.length > 0 ? [someOf(parts, "; ")] : [] };
}

/** Meshes that are listed and of which nothing is in force: in which cluster they are is not known, or none of its business. */
function describeAbsent({ meshes }: Verdict): string[] {
  const absent = Object.values(meshes).filter(({ mesh }) => !mesh);
  const named = absent.map(({ ref, errors }) => `${refKey(ref)} (${quoted(errors[0] ?? "not accepted")})`);
  return named.length > 0 ? [`not in force: mesh ${someOf(named)}`] : [];
}
