import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { KubernetesCluster } from "../../common/api/discovery.ts";
import { API_SERVER_TOOLS } from "../harness/api-server.ts";
import { skipWithout } from "../harness/needs.ts";
import { eventually } from "../harness/wait.ts";
import { type Replica, ReplicaWorld } from "./server-replicas.ts";

interface StoredSecret {
  readonly metadata: { readonly uid: string; readonly resourceVersion: string };
  readonly data: Readonly<Record<string, string>>;
}

interface StoredEvent {
  readonly type: string;
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly name: string };
  readonly series?: { readonly count: number };
}

const SECRETS = ["relay-root-key-secret", "relay-tls-signing-secret", "relay-server-tls-secret"];

suite("real api server, two replicas", { skip: skipWithout(API_SERVER_TOOLS) }, () => {
  const stack = new AsyncDisposableStack();
  let world: ReplicaWorld;
  let [a, b]: Replica[] = [];
  const replicas = (): readonly [Replica, Replica] => (a && b ? [a, b] : assert.fail("no replicas"));
  before(async () => {
    world = stack.use(await ReplicaWorld.start());
    // At once, so that both find nothing and make everything.
    [a, b] = await Promise.all([world.replica("replica-a"), world.replica("replica-b")]);
  });
  after(() => stack.disposeAsync());

  const secret = async (name: string): Promise<StoredSecret> =>
    (await world.get<StoredSecret>("secret", name)) ?? assert.fail(`no secret ${name}`);
  const cluster = async (name: string): Promise<KubernetesCluster> =>
    (await world.get<KubernetesCluster>("kubernetescluster", name)) ?? assert.fail(`no cluster ${name}`);

  const events = async (): Promise<readonly StoredEvent[]> => {
    const args = ["get", "events.events.k8s.io", "--namespace", "gloo-mesh", "--output", "json"];
    return (JSON.parse(await world.api.kubectl(args)) as { items: StoredEvent[] }).items;
  };
  /** How often each replica saw a clone of cluster "copied", by its metric. */
  const clones = async (): Promise<Record<string, number>> => {
    const counts = replicas().map(async ({ name, addresses }): Promise<[string, number]> => {
      const text = await (await fetch(`http://${addresses.monitor}/metrics`)).text();
      return [name, Number(/mesh_relay_possible_clones_total\{cluster="copied"\} (\d+)/.exec(text)?.[1] ?? 0)];
    });
    return Object.fromEntries((await Promise.all(counts)).filter(([, count]) => count > 0));
  };

  test("real replicas - started at once they make one authority, in Secrets of the reference's names", async () => {
    const [one, other] = replicas();
    const [first, second] = [await one.register("first"), await other.register("second")];
    assert.equal(first.trustPin, second.trustPin);
    assert.equal(first.trustBundle, second.trustBundle);
    const bundle = Buffer.from(first.trustBundle).toString("base64");
    // An agent beside the server may read this one.
    assert.deepEqual((await secret("relay-root-tls-secret")).data, { "ca.crt": bundle });
    for (const { data } of await Promise.all(SECRETS.map(secret))) {
      assert.deepEqual(Object.keys(data).sort(), ["ca.crt", "tls.crt", "tls.key"]);
      assert.equal(data["ca.crt"], bundle);
    }
    for (const replica of replicas())
      await (await replica.enroll(await replica.register(`of-${replica.name}`))).connect(other);
  });

  test("real replicas - enrolled at one and connected to the other, in the next moment", async () => {
    const [one, other] = replicas();
    const agent = await one.enroll(await other.register("cluster-1"));
    const session = await agent.connect(other);
    const [here, there] = await Promise.all(
      replicas().map((replica) => replica.until("is connected", "cluster-1", ({ connected }) => connected)),
    );
    for (const told of [here, there]) {
      assert.deepEqual([told?.epoch, told?.identity, told?.replica], [session.epoch, "ENROLLED", "replica-b"]);
    }
    // What was pushed is counted by the replica that pushed it, and made up by no other.
    assert.deepEqual([here?.lastSeenAt, here?.types[0]?.lastPushAt], [undefined, undefined]);
    assert.ok(there?.lastSeenAt);
    const { status } = await cluster("cluster-1");
    assert.deepEqual([status?.session?.replica, status?.session?.connected], ["replica-b", true]);
    assert.equal(status?.identity?.state, "ENROLLED");
    session.close();
    for (const replica of replicas()) {
      const left = await replica.until("has left", "cluster-1", ({ connected, endedAt }) => !connected && !!endedAt);
      assert.equal(left.endReason, "the agent left, or the connection to it broke");
    }
    assert.equal(
      (await cluster("cluster-1")).status?.session?.endReason,
      "the agent left, or the connection to it broke",
    );
  });

  test("real replicas - a token used twice at two replicas in one moment gives one identity", async () => {
    for (let round = 0; round < 5; round++) {
      const token = await replicas()[round % 2 ? 0 : 1].register(`twice-${round}`);
      const attempts = await Promise.allSettled(replicas().map((replica) => replica.enroll(token)));
      const states = attempts.map(({ status }) => status).sort();
      assert.deepEqual(states, ["fulfilled", "rejected"]);
      const refused = attempts.find((each) => each.status === "rejected");
      assert.equal((refused?.reason as { code?: string }).code, "unauthenticated");
    }
  });

  test("real replicas - the newer session wins, wherever it is", async () => {
    const [one, other] = replicas();
    const agent = await one.enroll(await one.register("wanderer"));
    const sessions = [await agent.connect(one)];
    for (const replica of [other, one, other]) {
      const before = sessions.at(-1);
      const session = await agent.connect(replica);
      assert.ok(session.epoch > (before?.epoch ?? 0n));
      assert.match((await before?.ended)?.message ?? "", /a newer session of wanderer took over/);
      sessions.push(session);
    }
    sessions.at(-1)?.close();
  });

  test("real replicas - two agents with one identity that take turns at two replicas are told to the operator, and one that wanders is not", async () => {
    const [one, other] = replicas();
    const agent = await one.enroll(await one.register("copied"));
    const honest = await one.enroll(await one.register("restless"));
    for (const [replica, instance] of [
      [one, "agent"],
      [other, "clone"],
      [one, "agent"],
      [other, "clone"],
    ] as const) {
      await agent.connect(replica, instance);
      await honest.connect(replica, "agent");
    }
    assert.deepEqual(await clones(), {});
    await agent.connect(one, "agent");
    (await agent.connect(other, "clone")).close();
    (await honest.connect(one, "agent")).close();
    // Each turn is seen by the replica at which it was taken, and by no other.
    assert.deepEqual(await clones(), { "replica-a": 1, "replica-b": 1 });
    const [event] = await eventually("an event tells of it at each replica", async () => {
      const told = (await events()).filter(({ reason }) => reason === "PossibleClone");
      return told.length === 2 ? told : undefined;
    });
    assert.deepEqual([event?.type, event?.regarding.name], ["Warning", "copied"]);
    assert.match(
      event?.note ?? "",
      /^two agents take turns with the identity .*; meshctl cluster revoke copied, then /,
    );
    // The next turns are counted by those, and written no sooner than a minute later.
    for (const instance of ["agent", "clone", "agent"]) (await agent.connect(one, instance)).close();
    assert.deepEqual(await clones(), { "replica-a": 4, "replica-b": 1 });
    // Written after all that was recorded before it.
    await one.revoke("restless");
    await eventually("what was recorded is written", async () =>
      (await events()).some(({ reason }) => reason === "Revoked"),
    );
    const all = (await events()).filter(({ reason }) => reason === "PossibleClone");
    assert.deepEqual(
      all.map(({ series }) => series),
      [undefined, undefined],
    );
  });

  test("real replicas - revoked at one, the session at the other ends, and nothing lets it in again", async () => {
    const [one, other] = replicas();
    const agent = await one.enroll(await one.register("traitor"));
    const session = await agent.connect(other);
    await one.until("is connected", "traitor", ({ connected }) => connected);
    assert.equal(await one.revoke("traitor"), true);
    assert.equal((await session.ended)?.code, "permission_denied");
    for (const replica of replicas()) {
      await assert.rejects(agent.connect(replica), { code: "permission_denied" });
    }
    await eventually("events tell of it", async () => {
      const args = ["get", "events.events.k8s.io", "--namespace", "gloo-mesh", "--output"];
      const output = 'jsonpath={range .items[?(@.regarding.name=="traitor")]}{.reason}/{.type} {end}';
      const told = (await world.api.kubectl([...args, output])).trim().split(" ").sort();
      const expected = [
        "Connected/Normal",
        "Disconnected/Normal",
        "Enrolled/Normal",
        "Revoked/Warning",
        "TokenIssued/Normal",
      ];
      return told.join() === expected.join();
    });
    const again = await other.enroll(await other.register("traitor"));
    (await again.connect(one)).close();
    await assert.rejects(agent.connect(one), { code: "unauthenticated" });
    await eventually("an event tells of the certificate that was replaced", async () =>
      (await events()).some(
        ({ reason, regarding, note }) =>
          reason === "PossibleClone" && regarding.name === "traitor" && note.startsWith("a certificate was shown"),
      ),
    );
  });

  test("real replicas - a cluster that is deleted is not registered: refused, its session ended, made anew it is a new one", async () => {
    const [one, other] = replicas();
    const agent = await one.enroll(await one.register("gone"));
    const session = await agent.connect(other);
    await world.api.kubectl(["delete", "kubernetescluster", "gone", "--namespace", "gloo-mesh"]);
    assert.equal((await session.ended)?.code, "permission_denied");
    for (const replica of replicas()) {
      await assert.rejects(agent.connect(replica), { code: "failed_precondition" });
    }
    const again = await other.enroll(await other.register("gone"));
    const later = await again.connect(one);
    assert.ok(later.epoch > session.epoch);
    await assert.rejects(agent.connect(other), { code: "unauthenticated" });
    later.close();
  });

  test("real replicas - a cluster that somebody applied waits for its token, and register takes it as it is", async () => {
    const [one, other] = replicas();
    const spec = { clusterDomain: "cluster.example" };
    const apiVersion = "multicluster.solo.io/v1alpha1";
    await world.api.apply({
      apiVersion,
      kind: "KubernetesCluster",
      metadata: { namespace: "gloo-mesh", name: "applied" },
      spec,
    });
    await other.until("is registered", "applied", ({ identity }) => identity === "REGISTERED");
    await one.enroll(await one.register("applied"));
    const stored = await cluster("applied");
    assert.deepEqual([stored.spec, stored.status?.identity?.state], [spec, "ENROLLED"]);
  });

  test("real replicas - one is killed: its sessions are seen to be over, and the other serves its agents with a higher epoch", async () => {
    const [one, other] = replicas();
    const agent = await one.enroll(await one.register("survivor"));
    const session = await agent.connect(other);
    await one.until("is connected", "survivor", ({ connected }) => connected);
    other.process.kill("SIGKILL");
    await one.until("is not connected", "survivor", ({ connected }) => !connected);
    const next = await agent.connect(one);
    assert.ok(next.epoch > session.epoch);
    b = await world.replica("replica-b");
    await b.until("is connected", "survivor", ({ connected, epoch }) => connected && epoch === next.epoch);
    assert.equal((await cluster("survivor")).status?.session?.replica, "replica-a");
    next.close();
  });

  test("real replicas - all of it was done with the rights of the chart", async () => {
    for (const replica of replicas()) assert.doesNotMatch(await replica.process.log(), /forbidden/);
  });

  test("real replicas - an API server that is away ends no session, new ones wait for it, and nobody is taken for dead", async () => {
    const [one, other] = replicas();
    const [settled, late] = [
      await one.enroll(await one.register("settled")),
      await one.enroll(await one.register("late")),
    ];
    const session = await settled.connect(one);
    await other.until("is connected", "settled", ({ connected }) => connected);
    await world.api.processes[1]?.stop();
    await assert.rejects(late.connect(one), { code: "unavailable" });
    await assert.rejects(one.register("nobody"), { code: "unavailable" });
    for (const replica of replicas()) assert.equal((await replica.session("settled"))?.connected, true);
    await world.api.restart();
    const welcomed = await eventually("the late one is welcomed", () => late.connect(other));
    for (const replica of replicas()) {
      const { epoch } = await replica.until("is connected", "settled", ({ connected }) => connected);
      assert.equal(epoch, session.epoch);
    }
    for (const each of [session, welcomed]) each.close();
  });

  test("real replicas - an authority once made is never made again, and one that was deleted is put back", async () => {
    const [one] = replicas();
    const kept = ["relay-root-tls-secret", "relay-tls-signing-secret"];
    const before = await Promise.all(kept.map(secret));
    // The root's key may be taken away, to be kept elsewhere.
    await world.api.kubectl(["delete", "secret", "relay-root-key-secret", ...kept, "--namespace", "gloo-mesh"]);
    await eventually("both are back", async () => (await Promise.all(kept.map(secret))).length === kept.length);
    const now = await Promise.all(kept.map(secret));
    assert.deepEqual(
      now.map(({ data }) => data),
      before.map(({ data }) => data),
    );
    await (await one.enroll(await one.register("later"))).connect(one);
    assert.equal(await world.get("secret", "relay-root-key-secret"), undefined);
  });
});
