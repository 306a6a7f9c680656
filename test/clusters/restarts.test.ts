import assert from "node:assert/strict";
import { test } from "node:test";
import { temporaryFolder } from "../harness/folder.ts";
import { opensslRoot, type KeyAndCertificate } from "../harness/openssl.ts";
import { startProcess } from "../harness/process.ts";
import { eventually } from "../harness/wait.ts";
import { ALLOWED } from "../real/chart-rights.ts";
import { ensureTools } from "../tools/build.ts";
import { endOfRecord, requestsTo } from "./audit.ts";
import type { Cluster } from "./cluster.ts";
import { forgetVault, setUpVault } from "./guide-vault.ts";
import { BOOKINFO } from "./images/foreign.ts";
import { applyCrds, installServer, meshctl, NAMESPACE, register, removeOurs, untilThere } from "./install.ts";
import { patchIstiod, plainIstiod, untilIstiodReady } from "./istiod.ts";
import { chainFrom, handedOutRoot, identityOf, istiodPods, podsOf, serialOf, verify, type Pod } from "./judge.ts";
import { applyVirtualMesh, meshOf, restartWorkloads } from "./mesh.ts";
import { addWorkloads, BARE_POD, MORE_WORKLOADS, removeWorkloads } from "./more-workloads.ts";
import { RIGHTS_OF_RESTARTS, unusedRights } from "./rights.ts";
import { useClusters } from "./suite.ts";

const GATEWAY = "istio-ingressgateway";
const RESTARTED = [...BOOKINFO, ...MORE_WORKLOADS];
const OUTAGE = /traffic between restarted and unrestarted pods fails meanwhile/;
const PATIENT = { timeoutMs: 180_000, intervalMs: 500 };

let root: KeyAndCertificate;
let begin = 0;
/** All pods before the first restart. */
let first: Pod[];

const clusters = useClusters({
  until: "bookinfo",
  count: 1,
  setUp: async ({ kubeconfig }) => {
    begin = await endOfRecord(one());
    root = await opensslRoot("my-org");
    await forgetVault(one());
    await setUpVault(one(), root);
    await applyCrds(one());
    await installServer(one());
    await register({ kubeconfig, server: one(), cluster: one() });
    await addWorkloads(one());
    first = await pods();
  },
  tearDown: async () => {
    await removeWorkloads(one());
    await removeOurs(one());
    await plainIstiod(one());
    await untilIstiodReady(one(), 1, 1);
    await restartWorkloads(one());
  },
});
const options = { skip: clusters.skip, timeout: 400_000 };
const one = (): Cluster => clusters.cluster(1);

const mesh = (autoRestartPods: boolean, ttlDays = 30): Promise<void> =>
  applyVirtualMesh({ ...clusters.fleet(), clusters: [one(), one()] }, { meshes: [one()], autoRestartPods, ttlDays });

/** The pods of the gateway and of bookinfo. */
const pods = async (): Promise<Pod[]> => [
  ...(await podsOf(one(), "istio-system", `app=${GATEWAY}`)),
  ...(await podsOf(one(), "bookinfo")),
];
const uidsOf = (among: readonly Pod[], app?: string): string[] =>
  among.flatMap(({ metadata }) => (app === undefined || metadata.labels?.["app"] === app ? [metadata.uid] : [])).sort();

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}
interface WithStatus {
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** The condition AutoRestartPods of the VirtualMesh, once it has that reason. */
const automatic = (reason: string): Promise<Condition> =>
  eventually(
    `AutoRestartPods ${reason}`,
    async () => {
      const { status } = await one().get<WithStatus>("virtualmesh", "virtual-mesh", "--namespace", NAMESPACE);
      return status?.conditions?.find((each) => each.type === "AutoRestartPods" && each.reason === reason);
    },
    PATIENT,
  );

interface Directive {
  readonly spec: { readonly rootSha256?: string; readonly podsToBounce: readonly { readonly namespace: string }[] };
  readonly status: {
    readonly state: string;
    readonly restarted: number;
    readonly remaining: number;
    readonly unmanaged: readonly string[];
    readonly podsBounced: readonly { readonly bouncedPods?: readonly string[] }[];
  };
}

const directive = () => one().get<Directive>("podbouncedirective", meshOf(one()), "--namespace", NAMESPACE);

/** What the status of the directive told, one change after the other, until `end` is over. */
async function historyOf(end: () => Promise<unknown>): Promise<string[]> {
  const { kubectl } = await ensureTools(["kubectl"]);
  await using folder = await temporaryFolder();
  const columns = ["state", "restarted", "message"].map((field) => `{.status.${field}}`).join(" ");
  const watch = ["get", "podbouncedirective", "--watch", "--output", `jsonpath=${columns}{"\\n"}`];
  const where = ["--namespace", NAMESPACE, "--kubeconfig", one().kubeconfig, "--context", one().name];
  await using watching = await startProcess({
    ...{ name: "kubectl get --watch", command: kubectl, args: [...watch, ...where] },
    logFile: folder.file("history"),
  });
  await end();
  const finished = async (): Promise<string[] | false> => {
    const lines = (await watching.log()).split("\n");
    return lines.some((line) => line.startsWith("FINISHED")) && lines;
  };
  return await eventually("the end of the history", finished, { timeoutMs: 10_000 });
}

const moment = (text: string | undefined): number => Date.parse(text ?? "");
const readyAt = ({ status }: Pod): number =>
  moment(status.conditions?.find(({ type }) => type === "Ready")?.lastTransitionTime);

/** That all pods but the bare one were replaced: the gateway's first, then the others, and one of `reviews` at a time. */
async function assertReplacedInOrder(before: readonly Pod[]): Promise<void> {
  const after = await pods();
  const kept = uidsOf(after).filter((uid) => uidsOf(before).includes(uid));
  assert.deepEqual(kept, uidsOf(before, BARE_POD));
  const of = (app: string): Pod[] => after.filter(({ metadata }) => metadata.labels?.["app"] === app);
  const [gateway] = of(GATEWAY);
  assert.ok(gateway);
  for (const app of RESTARTED) {
    assert.equal(of(app).length, app === "reviews" ? 2 : 1, app);
    for (const pod of of(app)) {
      assert.ok(moment(pod.metadata.creationTimestamp) >= readyAt(gateway), `${app} before the gateway was ready`);
    }
  }
  const [earlier, later] = of("reviews").sort((a, b) => readyAt(a) - readyAt(b)) as [Pod, Pod];
  assert.ok(moment(later.metadata.creationTimestamp) >= readyAt(earlier), "both pods of reviews were away at once");
}

async function untilReady(): Promise<void> {
  const wait = ["wait", "--for=condition=Ready", "virtualmesh/virtual-mesh", "--namespace", NAMESPACE];
  await one().kubectl([...wait, "--timeout=120s"], { timeoutMs: 125_000 });
}

/** Serial number of the intermediate that istiod signs with. */
async function signingSerial(): Promise<string> {
  const [istiod] = (await istiodPods(one())) as [Pod];
  return serialOf((await chainFrom(one(), istiod, root.certificate))[1] ?? "");
}

test(
  "restarts - the status says before it begins that traffic between old and new pods will fail",
  options,
  async () => {
    await mesh(true);
    const { status, message } = await automatic("Pending");
    assert.equal(status, "False");
    assert.match(message, OUTAGE);
    assert.deepEqual(uidsOf(await pods()), uidsOf(first));
  },
);

test("restarts - with autoRestartPods false a changed root restarts nothing", options, async () => {
  await mesh(false);
  await untilThere(one(), "issuedcertificate", meshOf(one()));
  await patchIstiod(one());
  await untilIstiodReady(one());
  const isHandedOut = async (namespace: string): Promise<boolean> =>
    (await handedOutRoot(one(), namespace)) === root.certificate.trimEnd();
  for (const namespace of ["bookinfo", "istio-system"]) {
    await eventually(`the root in ${namespace}`, () => isHandedOut(namespace), PATIENT);
  }
  // What the agent does after it has seen all of that.
  await mesh(false, 29);
  await untilReady();
  assert.equal(await one().kubectl(["get", "podbouncedirectives", "--all-namespaces", "--output", "name"]), "");
  assert.deepEqual(uidsOf(await pods()), uidsOf(first));
});

test("restarts - with autoRestartPods true the gateway and then all workloads are restarted", options, async () => {
  const history = await historyOf(async () => {
    await mesh(true, 29);
    const { status, message } = await automatic("Finished");
    assert.equal(status, "True");
    assert.doesNotMatch(message, OUTAGE);
  });
  const told = history.filter((line) => /^[A-Z]/.test(line));
  const [announced = ""] = told;
  assert.match(announced, /^(?:PENDING|BOUNCING_PODS) 0 .*1 pod of gateways, then 8 pods will be restarted/);
  for (const line of told.filter((each) => !each.startsWith("FINISHED"))) assert.match(line, OUTAGE);
  const counts = told.map((line) => Number(line.split(" ")[1]));
  assert.deepEqual(
    counts,
    [...counts].sort((a, b) => a - b),
  );
  assert.deepEqual([counts[0], counts.at(-1)], [0, 9]);
  await assertReplacedInOrder(first);

  const { spec, status } = await directive();
  assert.deepEqual([status.state, status.restarted, status.remaining], ["FINISHED", 9, 0]);
  assert.deepEqual(status.unmanaged, [`bookinfo/${BARE_POD}`]);
  assert.equal(spec.podsToBounce[0]?.namespace, "istio-system");
  const names = status.podsBounced.flatMap(({ bouncedPods = [] }) => bouncedPods);
  const old = first.map(({ metadata }) => metadata.name).filter((name) => name !== BARE_POD);
  assert.deepEqual([...names].sort(), old.sort());
  for (const app of BOOKINFO) {
    const { chain } = await identityOf(one(), app);
    await verify(chain.slice(0, 2), root.certificate);
  }
});

test(
  "restarts - a renewal under the same root restarts nothing, and meshctl mesh restart all of it",
  options,
  async () => {
    const [before, serial] = [await pods(), await signingSerial()];
    await mesh(true, 28);
    const isRenewed = async (): Promise<boolean> => (await signingSerial()) !== serial;
    await eventually("another intermediate", isRenewed, PATIENT);
    await mesh(false, 28);
    await untilReady();
    assert.deepEqual(uidsOf(await pods()), uidsOf(before));
    let output = "";
    const history = await historyOf(async () => {
      output = await meshctl(one(), ["mesh", "restart", "--mesh-name", meshOf(one()), "--wait"], {
        timeoutMs: 240_000,
      });
    });
    assert.match(output, /^restarted 9 pods of istiod-istio-system-cluster-1$/m);
    assert.match(output, /not restarted, because nobody would replace it: bookinfo\/bare/);
    await assertReplacedInOrder(before);
    const told = history.filter((line) => /a restart was asked for at/.test(line));
    assert.match(told[0] ?? "", / 0 .*traffic between restarted and unrestarted pods may fail meanwhile/);
    const now = await directive();
    assert.deepEqual([now.status.state, now.status.restarted, now.status.remaining], ["FINISHED", 9, 0]);
  },
);

test("restarts - every right that the chart gives for them was used", options, async () => {
  const unused = unusedRights(ALLOWED, await requestsTo(one(), begin)).map((right) => JSON.stringify(right));
  assert.deepEqual(
    RIGHTS_OF_RESTARTS.filter((right) => unused.includes(JSON.stringify(right))),
    [],
  );
});
