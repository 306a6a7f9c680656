import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubernetesCluster } from "../../common/api/discovery.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { silentLog } from "../../common/runtime/log.ts";
import type { StatusChange } from "./cluster-objects.ts";
import { KubernetesSessions } from "./kubernetes-sessions.ts";

/** One object that all replicas change by compare-and-swap; `before` runs between what a change reads and its write. */
class SharedObject {
  stored = {
    apiVersion: "multicluster.solo.io/v1alpha1",
    ...{ kind: "KubernetesCluster", metadata: { name: "cluster-1" }, spec: {} },
    status: { identity: { state: "ENROLLED" } },
  } as KubernetesCluster;
  writes = 0;
  before: (() => Promise<unknown>) | undefined;

  readonly objects = {
    get: () => this.stored,
    values: () => [this.stored],
    onChange: () => () => undefined,
    updateStatus: async (_: string, change: StatusChange) => {
      for (;;) {
        const read = this.stored;
        const status = await change(read);
        const meanwhile = this.before;
        this.before = undefined;
        await meanwhile?.();
        if (this.stored !== read) continue;
        if (!status) return read;
        this.writes++;
        return (this.stored = { ...read, status });
      }
    },
  };
}

function twoReplicas() {
  const shared = new SharedObject();
  const told: string[] = [];
  const replica = (name: string) =>
    new KubernetesSessions({
      ...{ objects: shared.objects, replica: name, events: { record: () => undefined } },
      replicas: { isAlive: () => true, onChange: () => () => undefined },
      clones: { tookTurns: ({ peer }) => void told.push(`${peer} at ${name}`) },
      context: { clock: new ManualClock(), random: () => 0.5, log: silentLog, stop: new AbortController().signal },
    });
  const [one, other] = [replica("one"), replica("other")];
  const begin = (sessions: KubernetesSessions, instance: string): Promise<bigint> => {
    const facts = { cluster: "cluster-1", sessionId: instance, peer: instance, agentVersion: "1", connectedAtMs: 0 };
    return sessions.begin(facts, instance);
  };
  return { shared, told, one, other, begin };
}

test("kubernetes sessions - two that take turns over two replicas are told once per turn, by the write of each session", async () => {
  const { shared, told, one, other, begin } = twoReplicas();
  for (const _ of [1, 2]) {
    await begin(one, "agent");
    await begin(other, "clone");
  }
  assert.deepEqual(told, []);
  await begin(one, "agent");
  await begin(other, "clone");
  assert.deepEqual(told, ["agent at one", "clone at other"]);
  assert.equal(shared.writes, 6);
});

test("kubernetes sessions - one agent that wanders from replica to replica is no clone, nor is one that ends its session", async () => {
  const { told, one, other, begin } = twoReplicas();
  for (let round = 0; round < 10; round++) {
    const sessions = round % 2 ? one : other;
    const epoch = await begin(sessions, "agent");
    sessions.end({ cluster: "cluster-1", epoch, sessionId: "agent" }, "left");
    await sessions.flush(new AbortController().signal);
  }
  assert.deepEqual(told, []);
});

test("kubernetes sessions - the end of a session leaves the turns as they were", async () => {
  const { shared, told, one, other, begin } = twoReplicas();
  for (const [sessions, instance] of [
    [one, "agent"],
    [other, "clone"],
    [one, "agent"],
    [other, "clone"],
  ] as const) {
    const epoch = await begin(sessions, instance);
    sessions.end({ cluster: "cluster-1", epoch, sessionId: instance }, "left");
    await sessions.flush(new AbortController().signal);
  }
  assert.equal(shared.stored.status?.session?.connected, false);
  await begin(other, "agent");
  assert.deepEqual(told, ["agent at other"]);
});

test("kubernetes sessions - what was decided on an object that another replica had changed meanwhile counts for nothing", async () => {
  const { shared, told, one, other, begin } = twoReplicas();
  for (const instance of ["agent", "clone", "agent", "clone"]) await begin(one, instance);
  // Read after the clone's session, this would be the agent's third turn; the other replica records that one first.
  shared.before = () => begin(other, "agent");
  await begin(one, "agent");
  assert.deepEqual(told, ["agent at other"], "the second of one process is no turn");
});
