import { nameOf, refKey } from "../../common/api/meta.ts";
import { formatProblem, type Problem } from "../../common/api/problem.ts";
import type { ClusterCertificate, VirtualMeshStatus as WireStatus } from "../../proto/gen/admin/v1/admin.ts";
import type { MeshesStatus } from "../admin/services.ts";
import { appliedIntent, intentOfMeshes } from "../intent/applied.ts";
import { validate } from "../intent/validate.ts";
import type { AcceptedIntent } from "../intent/verdict.ts";
import type { SourceFault } from "../store/source-directory.ts";
import { snapshotOf, type World } from "../store/world.ts";
import { foldStatus } from "./fold.ts";
import type { MeshReports } from "./mesh-reports.ts";
import type { CertificateReport } from "./report.ts";

/**
 * The status of everything as any replica tells it: what the leader wrote into the VirtualMeshes, beside what the Meshes
 * say. The same objects give the same answer, at whichever replica.
 */
export function servedStatus(world: World, known: MeshReports): MeshesStatus {
  known.keepOnly(world.meshes);
  const applied = new Map<string, CertificateReport[]>();
  for (const mesh of world.meshes.values()) {
    const intent = appliedIntent(mesh);
    if (!intent) continue;
    const key = refKey(intent.ref);
    applied.set(key, [...(applied.get(key) ?? []), known.of(mesh, intent)]);
  }
  const present = [...world.stored].map(([key, object]): [string, WireStatus] => {
    // What was not judged yet is PENDING, by the word's meaning.
    const status = object.status ?? { state: "PENDING" };
    return [key, { name: nameOf(object), status: { ...status }, clusters: rowsOf(applied.get(key) ?? []) }];
  });
  const missing = missingStatuses(world, applied);
  return {
    virtualMeshes: [...present, ...missing].sort(byKey).map(([, status]) => status),
    sourceProblems: describeProblems(world.problems, world.faults),
  };
}

/** What is wrong with the sources, one line each. */
export function describeProblems(problems: readonly Problem[], faults: readonly SourceFault[]): string[] {
  return [...problems.map(formatProblem), ...faults.map(({ file, message }) => `${file}: ${message}`)];
}

/** One row per mesh, as WatchStatus has them. */
export function rowsOf(reports: readonly CertificateReport[]): ClusterCertificate[] {
  return reports.map(({ cluster, mesh, connected, applied, certificate }) => {
    return { cluster, mesh, connected, applied, certificate };
  });
}

/** Of VirtualMeshes that are gone while what they asked for is in force: nothing keeps a status for them. */
function missingStatuses(
  world: World,
  applied: ReadonlyMap<string, readonly CertificateReport[]>,
): [string, WireStatus][] {
  const gone = [...applied.keys()].filter((key) => !world.stored.has(key));
  if (gone.length === 0) return [];
  const inForce = intentOfMeshes(world.meshes.values());
  const verdicts = validate(snapshotOf(world), inForce);
  return gone.flatMap((key): [string, WireStatus][] => {
    const [verdict, intent] = [verdicts.get(key), inForce.get(key)];
    const reports = applied.get(key) ?? [];
    if (!verdict || !intent) return [];
    // By no clock of a replica, so that all say the same.
    const clock = { now: () => detachedSince(intent) };
    const status = foldStatus({ verdict, intent, reports, previous: undefined }, clock);
    const plain = JSON.parse(JSON.stringify(status)) as Record<string, unknown>;
    return [[key, { name: intent.ref, status: plain, clusters: rowsOf(reports) }]];
  });
}

/** Until the leader has said so, the time since which all of the Meshes are there. */
function detachedSince({ meshes }: AcceptedIntent): number {
  const all = Object.values(meshes);
  const conditions = all.flatMap(({ status }) => status?.conditions ?? []);
  const since = conditions.flatMap(({ type, lastTransitionTime: at }) => (type === "Detached" ? timesOf(at) : []));
  return since.length > 0
    ? Math.min(...since)
    : Math.max(...all.flatMap(({ metadata }) => timesOf(metadata.creationTimestamp)), 0);
}

/** None where somebody wrote by hand what is no time. */
const timesOf = (text: string | undefined): number[] => [Date.parse(text ?? "")].filter(Number.isFinite);

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);
