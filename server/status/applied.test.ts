import assert from "node:assert/strict";
import { test } from "node:test";
import { meshRef, snapshotWith, virtualMeshOf } from "../intent/fixtures.ts";
import { foldLastGood } from "../intent/last-good.ts";
import { validate } from "../intent/validate.ts";
import type { AcceptedIntent, Verdict } from "../intent/verdict.ts";
import { appliedFact } from "./applied.ts";
import type { CertificateReport } from "./report.ts";

interface Judged {
  readonly verdict: Verdict;
  readonly intent: AcceptedIntent;
  readonly inForce: ReadonlyMap<string, AcceptedIntent>;
}

function judged(
  virtualMesh: ReturnType<typeof virtualMeshOf>,
  previous: ReadonlyMap<string, AcceptedIntent> = new Map(),
): Judged {
  const verdicts = validate(snapshotWith([virtualMesh]), previous);
  const inForce = foldLastGood(previous, verdicts);
  const [verdict, intent] = [verdicts.get("gloo-mesh/vm"), inForce.get("gloo-mesh/vm")];
  if (!verdict || !intent) assert.fail("nothing is in force");
  return { verdict, intent, inForce };
}

const report = (cluster: string, rest: Partial<CertificateReport> = {}): CertificateReport => {
  return { cluster, mesh: meshRef(1), connected: true, applied: true, ...rest };
};

const told = ({ verdict, intent }: Judged, reports: readonly CertificateReport[]): string[] => {
  const { status, reason, message } = appliedFact(verdict, intent, reports);
  return [status, reason, message];
};

test("Applied - says of each reason which clusters it holds for, and of what the agent said", () => {
  const reports = [
    report("a"),
    report("b", { applied: false, connected: false }),
    report("c", { applied: false, rejected: "no space" }),
    report("d", { applied: false }),
    report("e", { applied: false, connected: false }),
  ];
  assert.deepEqual(told(judged(virtualMeshOf("vm", [1, 2])), reports), [
    "False",
    "WaitingForClusters",
    "1 of 5 clusters applied generation 1; not connected: b, e; refused (no space): c; in progress: d",
  ]);
});

test("Applied - counts clusters, not meshes, and a refusal is told before what is under way", () => {
  const reports = [report("a"), report("b", { applied: false }), report("b", { applied: false, rejected: "full" })];
  assert.equal(
    told(judged(virtualMeshOf("vm", [1, 2])), reports)[2],
    "1 of 2 clusters applied generation 1; refused (full): b",
  );
});

test("Applied - ten thousand clusters that are late, each with words of its own, make a short message", () => {
  const away = Array.from({ length: 5_000 }, (_, index) => report(`a-${index}`, { applied: false, connected: false }));
  const loud = Array.from({ length: 5_000 }, (_, index) =>
    report(`b-${index}`, { applied: false, rejected: `${index} ${"x".repeat(2_000)}` }),
  );
  const [, , message = ""] = told(judged(virtualMeshOf("vm", [1, 2])), [...away, ...loud]);
  assert.match(
    message,
    /^0 of 10000 clusters applied generation 1; not connected: a-0, a-1, a-10, a-100, a-1000 and 4995 more; /,
  );
  assert.match(message, / and 4996 more$/);
  assert.ok(message.length < 2_000, `${message.length} characters`);
});

test("Applied - an edit that is refused is in no cluster, while the generation before it is in all", () => {
  const { inForce } = judged(virtualMeshOf("vm", [1, 2]));
  const refused = judged(virtualMeshOf("vm", [1, 2], { mtlsConfig: { limited: {} } }), inForce);
  assert.deepEqual(told(refused, [report("cluster-1"), report("cluster-2")]), [
    "False",
    "NotAccepted",
    "2 of 2 clusters applied generation 1; generation 2 is refused, no cluster gets it",
  ]);
});

test("Applied - a mesh that is listed and not there yet is named, since its cluster is not known", () => {
  const partly = judged(virtualMeshOf("vm", [1, 99]));
  assert.deepEqual(told(partly, [report("cluster-1")]), [
    "False",
    "WaitingForMeshes",
    "1 of 1 clusters applied generation 1; not in force: mesh gloo-mesh/istiod-istio-system-cluster-99 (spec.meshes[1]: Mesh gloo-mesh/istiod-istio-system-cluster-99 does not exist yet)",
  ]);
});
