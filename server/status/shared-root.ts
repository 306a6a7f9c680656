import type { DeployedSharedTrust } from "../../common/api/virtual-mesh.ts";
import type { ConditionFact } from "../intent/verdict.ts";
import { someOf } from "../intent/naming.ts";
import { holdsIssued, speakingReplicas, type CertificateReport } from "./report.ts";

/** The root that all clusters are held to: SHA-256 of its DER form in lower-case hex, and who proved it first. */
export interface RootPin {
  readonly rootSha256: string;
  readonly rootProvedBy: string;
}

/** A cluster whose istiod signs under another root than the pinned one. */
export interface OtherRoot {
  readonly cluster: string;
  readonly rootSha256: string;
}

/**
 * The pin in force: the one of `deployed`, else the root of the certificate that was issued first (by the start of its
 * life, then by the cluster's name). Undefined while no cluster has issued.
 */
export function pinRoot(
  deployed: DeployedSharedTrust | undefined,
  reports: readonly CertificateReport[],
): RootPin | undefined {
  if (deployed?.rootSha256) return { rootSha256: deployed.rootSha256, rootProvedBy: deployed.rootProvedBy ?? "" };
  const proved = reports.flatMap((report) =>
    speakingReplicas(report)
      .filter((replica) => holdsIssued(replica) && replica.rootSha256.length > 0)
      .map(({ rootSha256, notBefore }) => {
        return { rootSha256, cluster: report.cluster, at: notBefore?.getTime() ?? Infinity };
      }),
  );
  const [first] = proved.sort((a, b) => a.at - b.at || (a.cluster < b.cluster ? -1 : 1));
  return first && { rootSha256: first.rootSha256.toString("hex"), rootProvedBy: first.cluster };
}

/** Roots of a report that are not the pinned one, each once. */
export function otherRoots(report: CertificateReport, pin: RootPin | undefined): OtherRoot[] {
  if (!pin) return [];
  const { cluster } = report;
  const roots = new Set(speakingReplicas(report).map(({ rootSha256 }) => rootSha256.toString("hex")));
  return [...roots]
    .filter((root) => root !== "" && root !== pin.rootSha256)
    .map((rootSha256) => ({ cluster, rootSha256 }));
}

/** The condition `SharedRoot`: True when every report shows the pinned root and no other. */
export function sharedRootCondition(
  reports: readonly CertificateReport[],
  pin: RootPin | undefined,
  generation: number,
): ConditionFact {
  const condition = (status: ConditionFact["status"], reason: string, message: string): ConditionFact => {
    return { type: "SharedRoot", status, observedGeneration: generation, reason, message };
  };
  if (!pin) return condition("Unknown", "NoRootYet", "no cluster has reported a root yet");
  const pinned = `root ${pin.rootSha256}, proved first in ${pin.rootProvedBy}`;
  const others = reports.flatMap((report) => otherRoots(report, pin));
  if (others.length > 0) {
    const named = others.map(({ cluster, rootSha256 }) => `${cluster} has root ${rootSha256}`);
    return condition("False", "OtherRoot", `${someOf(named, "; ")}; the VirtualMesh has ${pinned}`);
  }
  const silent = reports.filter((report) => !speakingReplicas(report).some((r) => r.rootSha256.length > 0));
  const clusters = someOf(silent.map(({ cluster }) => cluster));
  if (silent.length > 0) return condition("Unknown", "WaitingForClusters", `${pinned}; no root known of ${clusters}`);
  return condition("True", "OneRoot", `${pinned}, in ${someOf(reports.map(({ cluster }) => cluster))}`);
}
