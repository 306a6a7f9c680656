import type { ConditionFact } from "../intent/verdict.ts";
import { someOf } from "../intent/naming.ts";
import { faultsOf, speakingReplicas, type CertificateReport } from "./report.ts";

/**
 * Whether the certificates that are in force can be renewed, and how long the mesh lives if they cannot: until the first
 * of them ends. Unknown while there is none.
 */
export function renewalFact(reports: readonly CertificateReport[], generation: number): ConditionFact {
  const fact = (status: ConditionFact["status"], reason: string, message: string): ConditionFact => {
    return { type: "RenewalReady", status, observedGeneration: generation, reason, message };
  };
  const ends = reports.flatMap((report) =>
    speakingReplicas(report).flatMap(({ notAfter }) => (notAfter ? [{ notAfter, cluster: report.cluster }] : [])),
  );
  const [first] = ends.sort((a, b) => a.notAfter.getTime() - b.notAfter.getTime());
  if (!first) return fact("Unknown", "NothingIssued", "no certificate is in force yet");
  const runway = `without vault the mesh lives until ${first.notAfter.toISOString()} (${first.cluster})`;
  const holding = reports.filter((report) => speakingReplicas(report).some(({ notAfter }) => notAfter !== undefined));
  const faults = holding.flatMap(faultsOf);
  if (faults.length > 0) return fact("False", "RenewalFailing", `${someOf(faults, "; ")}; ${runway}`);
  return fact("True", "Renewable", runway);
}
