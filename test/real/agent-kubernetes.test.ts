import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { KubernetesIntentStore } from "../../agent/store/kubernetes-intent-store.ts";
import type { IssuedCertificate as CertificateObject } from "../../common/api/certificates.ts";
import { KubeClient } from "../../common/kube/client.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import type { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { keyOf, wireResource } from "../../common/session/resource-set.ts";
import { CertificateState, IssuedCertificate, ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import type { LinkResponse } from "../../proto/gen/istiod/v1/istiod.ts";
import { API_SERVER_TOOLS } from "../harness/api-server.ts";
import { HELM_TOOLS } from "../harness/helm.ts";
import { skipWithout } from "../harness/needs.ts";
import { eventually } from "../harness/wait.ts";
import { type AgentReplica, AgentWorld, CERTIFICATE } from "./agent-world.ts";

const NAMESPACE = "gloo-mesh";
const MESHCTL = { "relay.mesh.gloo.solo.io/created-by": "meshctl" };

/** What a pod says that has proved the certificate of this order. */
const proved = (message: NonNullable<LinkResponse["message"]>, serial: string): ReplicaStatus =>
  ReplicaStatus.fromPartial({
    ...{ state: CertificateState.CERTIFICATE_STATE_FINISHED, serial },
    ...{ orderVersion: message.$case === "order" ? message.value.version : Buffer.alloc(0) },
    ...{ notAfter: new Date(Date.now() + 86_400_000), vaultServer: "http://vault.vault:8200" },
  });

suite("real api server, agent", { skip: skipWithout([...API_SERVER_TOOLS, ...HELM_TOOLS]) }, () => {
  let world: AgentWorld;
  let first: AgentReplica;
  before(async () => {
    world = await AgentWorld.start();
  });
  after(() => world[Symbol.asyncDispose]());
  const kubectl = (...args: string[]): Promise<string> => world.api.kubectl([...args, "-n", NAMESPACE]);

  test("real agent - waits for its token, enrols by the Secrets, and deletes what meshctl made", async () => {
    first = await world.startReplica("agent-1");
    await eventually("says what it waits for", async () => /no token in secret/.test(await first.process.log()));
    await world.register(MESHCTL);
    await eventually("enrolled", async () => {
      const { data } = await world.get<{ data: Record<string, string> }>("secret", "relay-client-tls-secret");
      return data["tls.crt"] !== undefined && data["pending-tls.key"] === undefined;
    });
    await eventually("token deleted", async () => !(await kubectl("get", "secrets")).includes("identity-token"));
    const { data } = await world.get<{ data: Record<string, string> }>("configmap", "enterprise-agent-ca");
    assert.deepEqual(Object.keys(data), ["agent-1.pem"]);
    assert.match(data["agent-1.pem"] ?? "", /BEGIN CERTIFICATE/);
  });

  test("real agent - an istiod gets the order of the IssuedCertificate, and its status is told there", async () => {
    await world.applyVirtualMesh();
    const made = await world.certificate("made", ({ metadata }) => metadata.labels !== undefined);
    assert.equal(made.metadata.annotations?.["relay.mesh.gloo.solo.io/held"], "managed");
    assert.equal(made.spec.agentCa?.vault?.server, "http://vault.vault:8200");
    const pod = await world.istiodPod();
    using link = await world.link(first, await world.token(pod));
    const order = await link.next("order");
    link.report(proved(order, "01:02"));
    const { status } = await world.certificate("proved", (found) => found.status?.state === "FINISHED");
    const { replicas = [], conditions = [], notAfter } = status ?? {};
    const entry = replicas[0];
    assert.deepEqual(
      [entry?.podUid, entry?.agent, entry?.connected, entry?.serial],
      [pod.uid, "agent-1", true, "01:02"],
    );
    assert.equal(conditions.find(({ type }) => type === "Ready")?.status, "True");
    assert.equal(notAfter, entry?.notAfter);
    await eventually("event", async () => (await kubectl("get", "events")).includes("CertificateIssued"));
    assert.match(await kubectl("get", "issuedcertificates"), new RegExp(`${CERTIFICATE} +FINISHED +True`));
  });

  test("real agent - what is edited or deleted by hand is put back, and what it did not make is never touched", async () => {
    const foreign = {
      ...{ apiVersion: "certificates.mesh.gloo.solo.io/v1", kind: "IssuedCertificate" },
      ...{ metadata: { namespace: NAMESPACE, name: "foreign" }, spec: { hosts: ["spiffe://mine"] } },
    };
    await world.api.apply(foreign);
    const before = await world.get<CertificateObject>("issuedcertificate", "foreign");
    const made = await world.certificate("made", () => true);
    const spec = { hosts: ["spiffe://edited"], org: "added", certOptions: { ttlDays: 1 } };
    const annotations = { "relay.mesh.gloo.solo.io/content": "", other: "kept" };
    const patch = JSON.stringify({ metadata: { annotations }, spec });
    await kubectl("patch", "issuedcertificate", CERTIFICATE, "--type=merge", `--patch=${patch}`);
    const mended = await world.certificate("mended", (found) => isDeepStrictEqual(found.spec, made.spec));
    assert.equal(mended.metadata.annotations?.["other"], "kept");
    assert.equal(
      mended.metadata.annotations["relay.mesh.gloo.solo.io/content"],
      made.metadata.annotations?.["relay.mesh.gloo.solo.io/content"],
    );
    await kubectl("delete", "issuedcertificate", CERTIFICATE);
    const again = await world.certificate("made again", ({ metadata }) => metadata.uid !== made.metadata.uid);
    assert.deepEqual(again.spec, made.spec);
    const after = await world.get<CertificateObject>("issuedcertificate", "foreign");
    assert.equal(after.metadata.resourceVersion, before.metadata.resourceVersion);
  });

  test("real agent - refuses a name that somebody else has taken and leaves it to him, and deletes what is let go", async () => {
    const client = KubeClient.open(world.agentKubeconfig);
    const common = { clock: systemClock, random: Math.random, log: silentLog, replica: "test" };
    const context = { ...common, client, owner: { namespace: NAMESPACE, cluster: "cluster-1" } };
    const store = new KubernetesIntentStore(context, new Latest(new Map()));
    const signal = AbortSignal.timeout(60_000);
    const held = await store.load(signal);
    const [key, resource] = [...held.managed][0] ?? assert.fail("nothing is held");
    const renamed = IssuedCertificate.decode(resource.content);
    const name = { namespace: NAMESPACE, name: "foreign" };
    const taken = wireResource(name, Buffer.from(IssuedCertificate.encode({ ...renamed, name }).finish()));
    const managed = new Map([
      [key, resource],
      [keyOf(name), taken],
    ]);
    const refusals = await store.save({ managed, detached: new Map() }, signal);
    assert.deepEqual([...refusals.keys()], [keyOf(name)]);
    assert.match(refusals.get(keyOf(name))?.message ?? "", /foreign exists, and this agent did not make it/);
    assert.equal(refusals.get(keyOf(name))?.retriable, true);

    // One that is taken out stays as such while it is used, and goes when it is let go; deleted, it is gone for good.
    const spare = { namespace: NAMESPACE, name: "spare" };
    const other = wireResource(spare, Buffer.from(IssuedCertificate.encode({ ...renamed, name: spare }).finish()));
    const heldAs = async (): Promise<unknown> => {
      const { metadata } = await world.get<CertificateObject>("issuedcertificate", "spare");
      return metadata.annotations?.["relay.mesh.gloo.solo.io/held"];
    };
    const save = (removed: boolean | undefined) => {
      const detached = new Map(removed === undefined ? [] : [[keyOf(spare), { resource: other, removed }] as const]);
      return store.save({ managed: held.managed, detached }, signal);
    };
    await save(false);
    assert.equal(await heldAs(), "detached");
    await save(true);
    assert.equal(await heldAs(), "released");
    assert.deepEqual([...(await store.load(signal)).detached.values()][0]?.removed, true);
    await save(undefined);
    assert.doesNotMatch(await kubectl("get", "issuedcertificates"), /spare/);
    client.close();
  });

  test("real agent - refuses who is not istiod, and says why at both ends", async () => {
    const pod = await world.istiodPod();
    const refused = async (token: string, reason: RegExp, code: string): Promise<void> => {
      using link = await world.link(first, token);
      await assert.rejects(link.next("order"), (error: MeshError) => {
        assert.match(`${error.message} ${error.hint ?? ""}`, reason);
        assert.equal(error.code, code);
        return true;
      });
      await eventually("told in the log", async () => {
        const lines = (await first.process.log()).split("\n");
        return lines.some((line) => line.includes("istiod-agent refused") && reason.test(line));
      });
    };
    await refused(
      await world.token(pod, "istio-ca"),
      /does not accept it for audience enterprise-agent/,
      "unauthenticated",
    );
    const other = await world.otherPod("istio-system", "istiod-service-account");
    await refused(await world.token(other), /which is not a discovered istiod/, "permission_denied");
    const elsewhere = await world.otherPod("bookinfo", "istiod-service-account");
    const place = { namespace: "bookinfo", serviceAccount: "istiod-service-account", audience: "enterprise-agent" };
    const token = await world.api.createToken({ ...place, pod: elsewhere });
    await refused(token, /bookinfo\/istiod-service-account is not one that istiod runs as/, "permission_denied");
    await kubectl("delete", "rolebinding", "enterprise-agent-istiod");
    await refused(
      await world.token(pod),
      /may not link issuedcertificates .*createRoleBinding: true/,
      "permission_denied",
    );
    await world.applyChartRights();
    using link = await world.link(first, await world.token(pod));
    await link.next("order");
    await refused(await world.token(pod), /is linked already/, "conflict");
  });

  test("real agent - two replicas serve, no pod is linked twice, and the loss of the leader loses nothing", async () => {
    const second = await world.startReplica("agent-2");
    await world.api.kubectl(["scale", "deployment", "istiod", "--replicas=2", "-n", "istio-system"]);
    const [one, two] = await eventually("two pods", async () => {
      const pods = await world.istiodPods();
      return pods.length === 2 ? pods : undefined;
    });
    assert.ok(one && two);
    const keys = async () => Object.keys((await world.get<{ data: object }>("configmap", "enterprise-agent-ca")).data);
    assert.deepEqual((await keys()).sort(), ["agent-1.pem", "agent-2.pem"]);

    // The first pod at the one, the second at the other: both entries are kept.
    const atFirst = await world.link(first, await world.token(one));
    using atSecond = await world.link(second, await world.token(two));
    atFirst.report(proved(await atFirst.next("order"), "0a"));
    atSecond.report(proved(await atSecond.next("order"), "0b"));
    const agents = ({ status }: CertificateObject): Record<string, unknown> =>
      Object.fromEntries((status?.replicas ?? []).map(({ podUid, agent, serial }) => [podUid, `${agent} ${serial}`]));
    const both = { [one.uid]: "agent-1 0a", [two.uid]: "agent-2 0b" };
    await world.certificate("both entries", (found) => isDeepStrictEqual(agents(found), both));

    // The holder of a stream answers for it.
    using twice = await world.link(second, await world.token(one));
    await assert.rejects(twice.next("order"), { code: "conflict", message: /is linked already, at replica agent-1/ });

    // Nobody answers for the killed one: its pod is let in, and somebody else leads.
    first.process.kill("SIGKILL");
    atFirst[Symbol.dispose]();
    using moved = await world.link(second, await world.token(one));
    moved.report({ ...proved(await moved.next("order"), "0c"), state: CertificateState.CERTIFICATE_STATE_ISSUED });
    const after = await world.certificate("folded by the other", ({ status }) => status?.state === "ISSUED");
    assert.deepEqual(agents(after), { [one.uid]: "agent-2 0c", [two.uid]: "agent-2 0b" });
    const told = await world.status("told to the server", ({ certificate }) =>
      isDeepStrictEqual(certificate?.replicas.map(({ serial }) => serial).sort(), ["0b", "0c"]),
    );
    assert.equal(told.connected, true, "another session took over");

    // What is gone is forgotten: the replica's certificates, and the entry of a pod that was scaled away.
    await kubectl("delete", "pod", "agent-1", "--force", "--grace-period=0");
    await eventually("its certificates go", async () => isDeepStrictEqual(await keys(), ["agent-2.pem"]));
    atSecond[Symbol.dispose]();
    await world.api.kubectl(["scale", "deployment", "istiod", "--replicas=0", "-n", "istio-system"]);
    await world.certificate("forgotten", (found) => agents(found)[two.uid] === undefined);
    await world.status("forgotten at the server, too", ({ certificate }) => {
      return certificate?.replicas.every(({ serial }) => serial !== "0b") === true;
    });
  });
});
