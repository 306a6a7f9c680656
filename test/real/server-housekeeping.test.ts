import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { KubeClient } from "../../common/kube/client.ts";
import { certificateFacts, parseCertificates } from "../../common/pki/certificate.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { runTasks, type Tasks } from "../../common/runtime/tasks.ts";
import { DEFAULT_SERVER_NAMES } from "../../server/identity/relay-ca.ts";
import type { ApiServerContext } from "../../server/store/kubernetes-context.ts";
import { KubernetesPki } from "../../server/store/kubernetes-pki.ts";
import { Replicas } from "../../server/store/replicas.ts";
import { API_SERVER_TOOLS } from "../harness/api-server.ts";
import { skipWithout } from "../harness/needs.ts";
import { eventually } from "../harness/wait.ts";
import { ReplicaWorld } from "./server-replicas.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** Start of life of the first certificate in a Secret's value. */
function bornMs(base64: string): number {
  const [leaf] = parseCertificates(Buffer.from(base64, "base64").toString());
  return leaf ? certificateFacts(leaf).notBeforeMs : assert.fail("no certificate");
}

interface StoredSecret {
  readonly data: Readonly<Record<string, string>>;
}

// What a server does when much time has passed, on a clock that is moved by hand.
suite("real api server, housekeeping", { skip: skipWithout(API_SERVER_TOOLS) }, () => {
  const stack = new AsyncDisposableStack();
  let world: ReplicaWorld;
  before(async () => {
    world = stack.use(await ReplicaWorld.start());
  });
  after(() => stack.disposeAsync());

  /** Runs parts of a server until disposed. */
  function running(clock: ManualClock, tasksOf: (context: ApiServerContext) => Tasks): AsyncDisposable {
    const client = KubeClient.open(world.kubeconfig);
    const stop = new AbortController();
    const common = { client, namespace: "gloo-mesh", clock, random: () => 0.5, log: silentLog };
    const ended = runTasks(stop.signal, tasksOf({ ...common, stop: stop.signal }));
    return {
      [Symbol.asyncDispose]: async () => {
        stop.abort();
        await ended;
        client.close();
      },
    };
  }

  const lease = (name: string) => ({
    ...{ apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { namespace: "gloo-mesh", name } },
    spec: { holderIdentity: "somebody", leaseDurationSeconds: 15 },
  });

  test("real housekeeping - the leader takes away what a replica left that died long ago, and nothing else", async () => {
    const clock = new ManualClock();
    await world.api.apply(lease("enterprise-networking-dead"), lease("enterprise-agent-dead"));
    const startMs = clock.now();
    await using _ = running(clock, (context) => {
      const replicas = new Replicas({ ...context, replica: "replica-a" });
      return { replicas: (stop) => replicas.run(stop), prune: (stop) => replicas.prune(stop) };
    });
    await eventually("the lease of the dead is gone", async () => {
      clock.advance(MINUTE_MS);
      return (await world.get("lease", "enterprise-networking-dead")) === undefined;
    });
    assert.ok(clock.now() - startMs >= 10 * MINUTE_MS, "it was given its ten minutes");
    for (const name of ["enterprise-agent-dead", "enterprise-networking-replica-a"]) {
      assert.ok(await world.get("lease", name), name);
    }
  });

  test("real housekeeping - the server's certificate is made anew after two thirds of its life, under the same authority", async () => {
    const clock = new ManualClock();
    const stored = async (what: string): Promise<string> =>
      (await world.get<StoredSecret>("secret", `relay-${what}-secret`))?.data["tls.crt"] ?? "";
    const options = { names: DEFAULT_SERVER_NAMES, ownCertificates: false, enrolled: () => 0 };
    let pki: KubernetesPki | undefined;
    await using _ = running(clock, (context) => {
      const made = new KubernetesPki({ ...context, ...options });
      pki = made;
      return { pki: (stop) => made.run(stop) };
    });
    await pki?.opened(AbortSignal.timeout(60_000));
    const [server, signing] = [await stored("server-tls"), await stored("tls-signing")];
    assert.notEqual(server, "");
    clock.advance(19 * DAY_MS);
    await eventually("renewed", async () => {
      clock.advance(60 * MINUTE_MS);
      return (await stored("server-tls")) !== server;
    });
    const ageDays = (clock.now() - bornMs(server)) / DAY_MS;
    assert.ok(ageDays >= 30 * 0.65 && ageDays < 30, `renewed after ${ageDays} days`);
    assert.equal(await stored("tls-signing"), signing);
    assert.deepEqual(pki?.notReady, []);
  });

  test("real housekeeping - a root that is missing while clusters are enrolled is not made anew, though its key is there", async () => {
    await world.api.kubectl(["delete", "secret", "relay-root-tls-secret", "--namespace", "gloo-mesh"]);
    assert.ok(await world.get("secret", "relay-root-key-secret"));
    const clock = new ManualClock();
    let pki: KubernetesPki | undefined;
    await using _ = running(clock, (context) => {
      const made = new KubernetesPki({
        ...context,
        ...{ names: DEFAULT_SERVER_NAMES, ownCertificates: false, enrolled: () => 1 },
      });
      pki = made;
      return { pki: (stop) => made.run(stop) };
    });
    await eventually("it says what to do", () =>
      Promise.resolve(/relay-root-tls-secret is missing, and 1 clusters are enrolled/.test(pki?.notReady.join() ?? "")),
    );
    assert.equal(await world.get("secret", "relay-root-tls-secret"), undefined);
  });
});
