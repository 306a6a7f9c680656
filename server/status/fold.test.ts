import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refKey, type Condition } from "../../common/api/meta.ts";
import { checkSchema, findDefinition } from "../../common/api/schema.ts";
import type { VirtualMesh, VirtualMeshSpec, VirtualMeshStatus } from "../../common/api/virtual-mesh.ts";
import {
  CertificateState,
  IssuedCertificateStatus,
  ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { meshRef, snapshotWith, virtualMeshOf } from "../intent/fixtures.ts";
import { foldLastGood } from "../intent/last-good.ts";
import { validate } from "../intent/validate.ts";
import type { AcceptedIntent, Verdict } from "../intent/verdict.ts";
import { foldStatus } from "./fold.ts";
import type { CertificateReport } from "./report.ts";

const { CERTIFICATE_STATE_FINISHED: FINISHED, CERTIFICATE_STATE_ISSUED: ISSUED } = CertificateState;
const { CERTIFICATE_STATE_FAILED: FAILED } = CertificateState;
const ROOT = Buffer.alloc(32, 0xaa);
const OTHER = Buffer.alloc(32, 0xbb);
const KEY = (number: number): string => `istiod-istio-system-cluster-${number}.gloo-mesh.`;
const NOON = Date.UTC(2026, 0, 1, 12);

const at = (ms: number): { now: () => number } => ({ now: () => ms });

function judged(
  virtualMesh: VirtualMesh,
  previous: ReadonlyMap<string, AcceptedIntent> = new Map(),
): { verdict: Verdict; intent: AcceptedIntent | undefined; inForce: ReadonlyMap<string, AcceptedIntent> } {
  const verdicts = validate(snapshotWith([virtualMesh]), previous);
  const inForce = foldLastGood(previous, verdicts);
  const verdict = verdicts.get("gloo-mesh/vm") ?? assert.fail("no verdict");
  return { verdict, intent: inForce.get("gloo-mesh/vm"), inForce };
}

function reportOf(
  number: number,
  replica?: Partial<ReplicaStatus>,
  rest: Partial<CertificateReport> = {},
): CertificateReport {
  const replicas = replica ? [ReplicaStatus.create({ podName: `istiod-${number}`, ...replica })] : [];
  const certificate = IssuedCertificateStatus.create({ replicas });
  return { cluster: `cluster-${number}`, mesh: meshRef(number), connected: true, applied: true, certificate, ...rest };
}

function statusOf(
  reports: readonly CertificateReport[],
  previous?: VirtualMeshStatus,
  spec?: VirtualMeshSpec,
): VirtualMeshStatus {
  const status = foldStatus({ ...judged(virtualMeshOf("vm", [1, 2], spec)), reports, previous }, at(NOON));
  const shown = { ...virtualMeshOf("vm", []), status };
  assert.deepEqual(checkSchema(findDefinition(shown.apiVersion, shown.kind) ?? assert.fail(), shown), []);
  return status;
}

function condition(status: VirtualMeshStatus, type: string): Condition {
  return status.conditions?.find((other) => other.type === type) ?? assert.fail(`no condition ${type}`);
}

const BOTH = [
  reportOf(1, { state: FINISHED, rootSha256: ROOT, notBefore: new Date(2000) }),
  reportOf(2, { state: ISSUED, rootSha256: ROOT, notBefore: new Date(1000) }),
];

describe("foldStatus", () => {
  it("status - a revoked cluster is said to be one, with the way back", () => {
    const status = statusOf([
      reportOf(1, { state: FINISHED, rootSha256: ROOT }),
      { ...BOTH[1]!, applied: false, revoked: true },
    ]);
    assert.match(condition(status, "Applied").message, /^1 of 2 clusters applied generation 1; revoked: cluster-2$/);
    assert.equal(
      condition(status, "Ready").message,
      "2 of 2 meshes issued; the intent in force is not in every cluster; revoked: cluster-2",
    );
    assert.match(status.meshes?.[KEY(2)]?.warnings?.[0] ?? "", /meshctl cluster register cluster-2 --renew-token/);
  });

  it("status - RenewalReady tells how long the mesh lives without Vault, and why a renewal fails", () => {
    const soon = reportOf(1, { state: FINISHED, rootSha256: ROOT, notAfter: new Date("2026-02-01T00:00:00Z") });
    const late = { state: FINISHED, rootSha256: ROOT, notAfter: new Date("2026-03-01T00:00:00Z") };
    const runway = "without vault the mesh lives until 2026-02-01T00:00:00.000Z (cluster-1)";
    const sound = condition(statusOf([soon, reportOf(2, late)]), "RenewalReady");
    assert.deepEqual([sound.status, sound.reason, sound.message], ["True", "Renewable", runway]);
    const error = { code: "vault_sealed", message: "vault is sealed", hint: "" };
    const failing = condition(statusOf([soon, reportOf(2, { ...late, error })]), "RenewalReady");
    assert.deepEqual([failing.status, failing.reason], ["False", "RenewalFailing"]);
    assert.match(failing.message, /^cluster cluster-2, pod istiod-2: vault_sealed: vault is sealed; without vault/);
    assert.equal(condition(statusOf([reportOf(1), reportOf(2)]), "RenewalReady").status, "Unknown");
  });

  it("status - all issued under one root is Ready, and the first root is pinned", () => {
    const status = statusOf(BOTH);
    assert.deepEqual([status.state, status.observedGeneration, status.errors], ["ACCEPTED", 1, undefined]);
    assert.deepEqual(status.meshes, {
      [KEY(1)]: { acceptanceOrder: 1, state: "ACCEPTED" },
      [KEY(2)]: { acceptanceOrder: 1, state: "ACCEPTED" },
    });
    assert.equal(status.deployedSharedTrust?.rootSha256, ROOT.toString("hex"));
    assert.equal(status.deployedSharedTrust.rootProvedBy, "cluster-2");
    assert.deepEqual(
      status.conditions?.map(({ type, status: value, reason, message }) => [type, value, reason, message]),
      [
        ["Accepted", "True", "Accepted", "2 of 2 meshes accepted"],
        ["Applied", "True", "AllApplied", "2 of 2 clusters applied generation 1"],
        [
          "SharedRoot",
          "True",
          "OneRoot",
          `root ${ROOT.toString("hex")}, proved first in cluster-2, in cluster-1, cluster-2`,
        ],
        ["Ready", "True", "Issued", "2 of 2 meshes issued, 1 seen to sign"],
        ["RenewalReady", "Unknown", "NothingIssued", "no certificate is in force yet"],
      ],
    );
  });

  it("status - a cluster under another root is named with its fingerprint, and its mesh alone is not ACCEPTED", () => {
    const other = reportOf(2, { state: FINISHED, rootSha256: OTHER, notBefore: new Date(3000) });
    const status = statusOf([BOTH[0] ?? assert.fail(), other], undefined);
    const sharedRoot = condition(status, "SharedRoot");
    assert.deepEqual([sharedRoot.status, sharedRoot.reason], ["False", "OtherRoot"]);
    assert.match(
      sharedRoot.message,
      new RegExp(`^cluster-2 has root ${"bb".repeat(32)}; .*${"aa".repeat(32)}.*cluster-1$`),
    );
    assert.deepEqual([status.meshes?.[KEY(1)]?.state, status.meshes?.[KEY(2)]?.state], ["ACCEPTED", "FAILED"]);
    assert.deepEqual([status.state, condition(status, "Ready").reason], ["FAILED", "OtherRoot"]);
    assert.deepEqual(status.errors, status.meshes?.[KEY(2)]?.errors);
  });

  it("status - the pin outlives the clusters that proved it", () => {
    const pinned = statusOf(BOTH);
    const silent = statusOf([reportOf(1), reportOf(2)], pinned);
    assert.deepEqual(silent.deployedSharedTrust, pinned.deployedSharedTrust);
    assert.deepEqual(
      [condition(silent, "SharedRoot").status, condition(silent, "SharedRoot").reason],
      ["Unknown", "WaitingForClusters"],
    );
    const moved = statusOf(
      BOTH.map((report) => ({
        ...report,
        ...reportOf(report.cluster === "cluster-1" ? 1 : 2, { state: FINISHED, rootSha256: OTHER }),
      })),
      pinned,
    );
    assert.match(condition(moved, "SharedRoot").message, /^cluster-1 has root b+; cluster-2 has root b+; /);
  });

  it("status - what a cluster has not done yet is counted and named", () => {
    const status = statusOf([
      reportOf(1, undefined, { applied: false }),
      reportOf(2, undefined, { applied: false, connected: false }),
    ]);
    assert.equal(
      condition(status, "Applied").message,
      "0 of 2 clusters applied generation 1; in progress: cluster-1; not connected: cluster-2",
    );
    assert.equal(condition(status, "SharedRoot").reason, "NoRootYet");
    assert.equal(
      condition(status, "Ready").message,
      "0 of 2 meshes issued; waiting for cluster-1; waiting for cluster-2",
    );
    assert.equal(status.state, "ACCEPTED");
  });

  it("status - a failed replica and a refused intent make their mesh FAILED with the reason", () => {
    const error = { code: "vault_denied", message: "role r is unknown", hint: "create it" };
    const status = statusOf([
      reportOf(1, {
        state: FAILED,
        error,
        rootSha256: ROOT,
        serial: "01",
        notAfter: new Date(NOON),
        warnings: ["LifetimeShortened: 32 of 365 days"],
      }),
      reportOf(2, { state: FINISHED, rootSha256: ROOT }, { rejected: "no space", applied: false }),
    ]);
    assert.deepEqual(status.meshes?.[KEY(1)], {
      acceptanceOrder: 1,
      state: "FAILED",
      errors: [
        "cluster cluster-1, pod istiod-1: vault_denied: role r is unknown (create it); the certificate in force is valid until 2026-01-01T12:00:00.000Z",
      ],
      warnings: ["pod istiod-1: LifetimeShortened: 32 of 365 days"],
    });
    assert.deepEqual(status.meshes[KEY(2)]?.errors, ["cluster cluster-2 refused the certificate: no space"]);
    const { status: shortened, message } = condition(status, "LifetimeShortened");
    assert.deepEqual(
      [shortened, message],
      ["True", "cluster cluster-1, pod istiod-1: LifetimeShortened: 32 of 365 days"],
    );
    assert.equal(status.state, "FAILED");
  });

  it("status - a pod that was replaced says nothing any more, while the last one gone still does", () => {
    const error = { code: "install_failed", message: "full", hint: "" };
    const gone = ReplicaStatus.create({ podName: "old", state: FAILED, error, rootSha256: OTHER, connected: false });
    const linked = ReplicaStatus.create({ podName: "new", state: FINISHED, rootSha256: ROOT, connected: true });
    const reportWith = (replicas: ReplicaStatus[]): CertificateReport => {
      return { ...reportOf(1), certificate: IssuedCertificateStatus.create({ replicas }) };
    };
    const second = BOTH[1] ?? assert.fail();
    const replaced = statusOf([reportWith([gone, linked]), second], statusOf(BOTH));
    assert.deepEqual([replaced.state, condition(replaced, "Ready").reason], ["ACCEPTED", "Issued"]);
    assert.equal(condition(replaced, "SharedRoot").status, "True");
    const alone = statusOf([reportWith([gone]), second], statusOf(BOTH));
    assert.deepEqual([alone.state, condition(alone, "Ready").status], ["FAILED", "False"]);
    assert.equal(condition(alone, "SharedRoot").status, "False");
  });

  it("status - what is accepted but not acted on is said, each in its condition", () => {
    const spec: VirtualMeshSpec = {
      federation: { selectors: [{}] },
      globalAccessPolicy: "ENABLED",
      mtlsConfig: {
        rotationStrategy: "NONE",
        shared: { rootCertificateAuthority: { generated: {} } },
      },
    };
    const status = statusOf([], undefined, spec);
    const said = status.conditions?.filter(({ reason }) => reason === "NotActedOn").map(({ type }) => type);
    assert.deepEqual(said, ["Federation", "GlobalAccessPolicy", "RootCertificateAuthority", "RootRotation"]);
    assert.deepEqual([status.state, condition(status, "Ready").reason], ["ACCEPTED", "NothingToIssue"]);
    assert.equal(
      statusOf([]).conditions?.some(({ reason }) => reason === "NotActedOn"),
      false,
    );
  });

  it("status - a refused edit shows its fault while the clusters stay ready under the last good intent", () => {
    const { inForce } = judged(virtualMeshOf("vm", [1, 2]));
    const { verdict, intent } = judged(virtualMeshOf("vm", [1, 2], { mtlsConfig: { limited: {} } }), inForce);
    const status = foldStatus({ verdict, intent, reports: BOTH, previous: statusOf(BOTH) }, at(NOON));
    assert.deepEqual([status.state, status.observedGeneration], ["INVALID", 2]);
    assert.deepEqual(status.errors, ["spec.mtlsConfig.limited: limited trust is not supported (use shared)"]);
    assert.deepEqual(
      [condition(status, "SharedRoot").status, condition(status, "Ready").reason],
      ["True", "NotAccepted"],
    );
    assert.deepEqual(status.meshes?.[KEY(1)]?.errors, ["the VirtualMesh was refused, generation 1 stays in force"]);
  });

  it("status - a condition keeps its time until its status changes", () => {
    const before = statusOf([reportOf(1), reportOf(2)]);
    const sources = { ...judged(virtualMeshOf("vm", [1, 2])), reports: BOTH, previous: before };
    const after = foldStatus(sources, at(NOON + 3_600_500));
    assert.equal(condition(after, "Applied").lastTransitionTime, "2026-01-01T12:00:00Z");
    assert.equal(condition(after, "Ready").lastTransitionTime, "2026-01-01T13:00:00Z");
    assert.deepEqual(foldStatus({ ...sources, previous: after }, at(NOON * 2)), after);
  });

  it("status - releasing all meshes lets go of the pin", () => {
    const { inForce } = judged(virtualMeshOf("vm", [1, 2]));
    const { verdict, intent } = judged(virtualMeshOf("vm", []), inForce);
    assert.equal(refKey(verdict.ref), "gloo-mesh/vm");
    const status = foldStatus({ verdict, intent, reports: [], previous: statusOf(BOTH) }, at(NOON));
    assert.deepEqual([status.deployedSharedTrust, status.meshes, status.state], [undefined, {}, "ACCEPTED"]);
  });
});

it("status - thousands of bad meshes make no object that an API server would not take", () => {
  const numbers = Array.from({ length: 5_000 }, (_, index) => index + 10);
  const [bad, good] = [virtualMeshOf("vm", numbers), virtualMeshOf("vm", [1, 2])];
  const { verdict, intent } = judged(bad);
  const status = foldStatus({ verdict, intent, reports: [], previous: undefined }, at(NOON));
  assert.equal(Object.keys(status.meshes ?? {}).length, numbers.length);
  assert.match(status.meshes?.[KEY(10)]?.errors?.[0] ?? "", /does not exist yet$/);
  assert.equal(status.errors?.at(-1), "and 4980 more");
  assert.equal(status.errors.length, 21);
  assert.match(condition(status, "Accepted").message, /^0 of 5000 meshes accepted; .* and 4995 more$/);
  const object = JSON.stringify({ ...bad, status });
  assert.ok(object.length < 1.2 * 1024 * 1024, `${object.length} bytes`);
  const refused = judged({ ...good, spec: { ...good.spec, meshes: numbers.map(() => ({ name: "x".repeat(9_000) })) } });
  assert.ok(refused.verdict.accepted.message.length < 6_000);
});
