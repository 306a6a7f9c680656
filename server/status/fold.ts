import { refKey, statusKey } from "../../common/api/meta.ts";
import type { ApprovalState, ApprovalStatus, SharedTrust, VirtualMeshStatus } from "../../common/api/virtual-mesh.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import type { AcceptedIntent, ConditionFact, MeshVerdict, Verdict } from "../intent/verdict.ts";
import { appliedFact, describeLate } from "./applied.ts";
import { stampConditions } from "./conditions.ts";
import { firstOf, someOf } from "../intent/naming.ts";
import { notActedOn } from "./not-acted-on.ts";
import { podBounceFact, podBounceWarnings } from "./pod-bounce.ts";
import { faultsOf, isIssued, isProved, warningsOf, type CertificateReport } from "./report.ts";
import { renewalFact } from "./renewal.ts";
import { withinBound } from "./mesh-texts.ts";
import { otherRoots, pinRoot, sharedRootCondition, type RootPin } from "./shared-root.ts";

/** What the status of one VirtualMesh is made of. */
export interface StatusSources {
  readonly verdict: Verdict;
  /** What is in force; undefined when nothing is. */
  readonly intent: AcceptedIntent | undefined;
  /** One per mesh in force, in a stable order. */
  readonly reports: readonly CertificateReport[];
  /** The status that was written last, which carries the pinned root and the times of the conditions. */
  readonly previous: VirtualMeshStatus | undefined;
}

/**
 * The whole status of a VirtualMesh. The same sources give the same status, except that a condition whose status
 * changes takes the clock's time.
 */
export function foldStatus(sources: StatusSources, clock: Pick<Clock, "now">): VirtualMeshStatus {
  const { verdict, intent, previous } = sources;
  const trust = issuingTrust(intent);
  const reports = trust ? sources.reports : [];
  const pin = trust && pinRoot(previous?.deployedSharedTrust, reports);
  const isRestarting = intent?.spec.mtlsConfig?.autoRestartPods === true;
  const meshes = foldMeshes({ verdict, reports, pin, isRestarting });
  const errors = firstOf([...verdict.errors, ...clusterFailures(verdict, meshes)]);
  const facts = [
    verdict.accepted,
    ...(trust && intent ? certificateFacts({ verdict, intent, reports, pin }) : [idleFact(verdict)]),
    ...(trust && isRestarting ? [podBounceFact(reports, verdict.generation)] : []),
    ...(intent ? notActedOn(intent.spec, intent.generation) : []),
  ];
  return {
    observedGeneration: verdict.generation,
    state: stateOf(verdict, Object.values(meshes)),
    ...(errors.length > 0 && { errors }),
    meshes: withinBound(meshes),
    conditions: stampConditions(facts, previous?.conditions, clock),
    ...(trust && pin && { deployedSharedTrust: { ...trust, ...pin } }),
  };
}

/** The trust in force, when a mesh is to have a certificate from it. */
function issuingTrust(intent: AcceptedIntent | undefined): SharedTrust | undefined {
  const shared = intent?.spec.mtlsConfig?.shared;
  const hasMeshes = Object.keys(intent?.meshes ?? {}).length > 0;
  return hasMeshes && shared?.intermediateCertificateAuthority ? shared : undefined;
}

/** Errors of the meshes that the verdict does not know, since they come from the clusters. */
function clusterFailures(verdict: Verdict, meshes: Readonly<Record<string, ApprovalStatus>>): string[] {
  return Object.entries(meshes).flatMap(([key, { errors = [] }]) => {
    return errors.filter((error) => !verdict.meshes[key]?.errors.includes(error));
  });
}

function stateOf(verdict: Verdict, meshes: readonly ApprovalStatus[]): ApprovalState {
  if (verdict.state === "INVALID") return "INVALID";
  return meshes.some(({ state }) => state === "FAILED") ? "FAILED" : verdict.state;
}

interface MeshSources {
  readonly verdict: Verdict;
  readonly reports: readonly CertificateReport[];
  readonly pin: RootPin | undefined;
  /** Whether the spec in force asks for restarts of pods. */
  readonly isRestarting: boolean;
}

function foldMeshes(sources: MeshSources): Record<string, ApprovalStatus> {
  const byMesh = new Map(sources.reports.map((report) => [refKey(report.mesh), report]));
  return Object.fromEntries(
    Object.values(sources.verdict.meshes).map((mesh) => [
      statusKey(mesh.ref),
      foldMesh(mesh, byMesh.get(refKey(mesh.ref)), sources),
    ]),
  );
}

function foldMesh(
  mesh: MeshVerdict,
  report: CertificateReport | undefined,
  { verdict: { acceptanceOrder }, pin, isRestarting }: MeshSources,
): ApprovalStatus {
  const roots = report ? otherRoots(report, pin) : [];
  const faults = [
    ...roots.map(
      ({ cluster, rootSha256 }) =>
        `cluster ${cluster} has root ${rootSha256}, the VirtualMesh has root ${pin?.rootSha256 ?? ""}`,
    ),
    ...(report ? faultsOf(report) : []),
  ];
  const remarks = report ? [...warningsOf(report), ...podBounceWarnings(report, isRestarting)] : [];
  const errors = [...mesh.errors, ...faults];
  const warnings = [...mesh.warnings, ...remarks];
  return {
    ...(acceptanceOrder !== undefined && { acceptanceOrder }),
    state: mesh.state === "ACCEPTED" && faults.length > 0 ? "FAILED" : mesh.state,
    ...(errors.length > 0 && { errors }),
    ...(warnings.length > 0 && { warnings }),
  };
}

function idleFact({ generation, outcome }: Verdict): ConditionFact {
  const reason = outcome === "removed" ? "Removed" : "NothingToIssue";
  const message = "no mesh in force asks for a certificate from an intermediateCertificateAuthority";
  return { type: "Ready", status: "False", observedGeneration: generation, reason, message };
}

interface CertificateSources extends Pick<StatusSources, "verdict" | "reports"> {
  readonly intent: AcceptedIntent;
  readonly pin: RootPin | undefined;
}

function certificateFacts({ verdict, intent, reports, pin }: CertificateSources): ConditionFact[] {
  const { generation } = verdict;
  const sharedRoot = sharedRootCondition(reports, pin, generation);
  const shortened = reports.flatMap((report) => {
    const remarks = warningsOf(report).filter((warning) => warning.includes("LifetimeShortened"));
    return remarks.map((remark) => `cluster ${report.cluster}, ${remark}`);
  });
  const lifetime: ConditionFact[] =
    shortened.length === 0
      ? []
      : [
          {
            type: "LifetimeShortened",
            status: "True",
            observedGeneration: generation,
            reason: "VaultGaveLess",
            message: someOf(shortened, "; "),
          },
        ];
  return [
    appliedFact(verdict, intent, reports),
    sharedRoot,
    readyFact(verdict, reports, sharedRoot),
    renewalFact(reports, generation),
    ...lifetime,
  ];
}

function readyFact(verdict: Verdict, reports: readonly CertificateReport[], sharedRoot: ConditionFact): ConditionFact {
  const ready = (status: ConditionFact["status"], reason: string, message: string): ConditionFact => {
    return { type: "Ready", status, observedGeneration: verdict.generation, reason, message };
  };
  const issued = reports.filter(isIssued);
  const count = `${issued.length} of ${reports.length} meshes issued`;
  if (sharedRoot.status === "False") return ready("False", "OtherRoot", sharedRoot.message);
  if (verdict.accepted.status !== "True") return ready("False", "NotAccepted", `${count}; ${verdict.accepted.message}`);
  const missing = reports.filter((report) => !isIssued(report));
  const causes = missing.map((report) => faultsOf(report)[0] ?? `waiting for ${report.cluster}`);
  if (missing.length > 0) return ready("False", "Issuing", `${count}; ${someOf(causes, "; ")}`);
  const { late, reasons } = describeLate(reports);
  const behind = [count, "the intent in force is not in every cluster", ...reasons].join("; ");
  if (late > 0) return ready("False", "NotApplied", behind);
  const proved = reports.filter(isProved).length;
  const reason = proved === reports.length ? "Proved" : "Issued";
  return ready("True", reason, `${count}, ${proved} seen to sign`);
}
