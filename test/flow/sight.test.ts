import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { StoredCredentials } from "../../agent/identity/documents.ts";
import { Dialer } from "../../common/session/client.ts";
import { digestOf, ISSUED_CERTIFICATE, keyOf } from "../../common/session/resource-set.ts";
import { RelayServiceService, ResourceOutcome } from "../../proto/gen/relay/v1/relay.ts";
import { eventually } from "../harness/wait.ts";
import { runMeshctl } from "./admin-world.ts";
import { conditionOf, FlowMesh, withTtlDays } from "./mesh.ts";

/** What operators see of a change on its way, asked of a whole system as they would ask. */
describe("sight", { timeout: 300_000 }, () => {
  let mesh: FlowMesh;
  before(async () => {
    mesh = await FlowMesh.startReady();
  });
  after(() => mesh[Symbol.asyncDispose]());

  const meshctl = async (...args: string[]): Promise<string> => {
    const outcome = await runMeshctl([...args, "--state-dir", mesh.serverFlags["stateDir"] ?? ""]);
    assert.equal(outcome.code, 0, outcome.stderr);
    return outcome.stdout;
  };
  const metrics = async (address = mesh.serverFlags["monitorListen"]): Promise<string> =>
    (await fetch(`http://${address ?? ""}/metrics`)).text();

  test("sight - a change that arrived is explained to its end, and there is no difference", async () => {
    const text = await meshctl("relay", "explain", "cluster-1");
    assert.match(text, /^cluster cluster-1 is connected since \d{4}-.*Z, agent /);
    assert.match(text, /^istiod-istio-system-cluster-1\.gloo-mesh: stored$/m);
    assert.match(text, /why +VirtualMesh virtual-mesh\.gloo-mesh, generation 1, asks for it/);
    assert.match(text, /sent +\d{4}-.*\n +stored +\d{4}-/);
    assert.match(text, /istiods +istiod-7d9f-abcde\.istio-system ISSUED, serial [0-9a-f:]+, valid until/);
    assert.equal(await meshctl("relay", "diff", "cluster-1"), "cluster cluster-1 holds what it shall\n");
    const { sessions } = JSON.parse(await meshctl("relay", "sessions", "--json")) as { sessions: object[] };
    const [session] = sessions as [{ types: object[]; certificateSerial: string }];
    assert.match(session.certificateSerial, /^[0-9A-F]+$/);
    const [type] = session.types as [{ wantedDigest: string; acknowledgedDigest: string; pushesSent: string }];
    assert.equal(type.wantedDigest, type.acknowledgedDigest);
    assert.ok(Number(type.pushesSent) >= 1);
  });

  test("sight - metrics count sessions, pushes, results and calls", async () => {
    const text = await metrics();
    assert.match(text, /^mesh_relay_sessions 2$/m);
    assert.match(text, /^mesh_relay_connects_total\{outcome="ok"\} 2$/m);
    assert.match(text, /^mesh_relay_push_results_total\{outcome="applied"\} 2$/m);
    // An agent that connects after the edit gets a whole set, one that was there a difference.
    const pushes = [...text.matchAll(/^mesh_relay_pushes_total\{kind="(?:difference|whole_set)"\} (\d)$/gm)];
    assert.equal(
      pushes.reduce((sum, [, count]) => sum + Number(count), 0),
      2,
    );
    assert.match(text, /^mesh_relay_convergence_seconds_count 2$/m);
    assert.match(text, /^mesh_relay_calls_total\{method="Enroll",code="OK"\} 2$/m);
    assert.match(text, /^mesh_relay_server_certificate_not_after_seconds 1\d{9}/m);
    const agent = await metrics(String(mesh.clusters[0].agentProgram().flags["monitorListen"]));
    assert.match(agent, /^mesh_relay_agent_apply_seconds_count 1$/m);
    assert.match(text, /^mesh_relay_ca_not_after_seconds \d{10}/m);
  });

  test("sight - a change that waits for an agent that is away is shown field by field, and the count names the cluster", async () => {
    await mesh.clusters[1].agent.stop();
    await mesh.apply(withTtlDays(90));
    await mesh.status("one of two", (view) => {
      const { message = "" } = conditionOf(view, "Applied");
      return message === "1 of 2 clusters applied generation 2; not connected: cluster-2";
    });
    const text = await meshctl("relay", "explain", "cluster-2");
    assert.match(
      text,
      /^cluster cluster-2 is enrolled and not connected; its last session ended at .*: the agent left, or .*broke$/m,
    );
    assert.match(text, /istiod-istio-system-cluster-2\.gloo-mesh: waiting/);
    assert.match(text, /held +version [0-9a-f]{12}; what differs: meshctl relay diff/);
    assert.match(text, /next +it is sent when the agent is connected/);
    const diff = await meshctl("relay", "diff", "cluster-2");
    assert.match(
      diff,
      /^~ istiod-istio-system-cluster-2\.gloo-mesh: changed; held [0-9a-f]{12}, wanted [0-9a-f]{12}$/m,
    );
    assert.match(diff, /^options\.ttlDays +365 +90$/m);
    assert.match(
      await meshctl("relay", "sessions"),
      /^cluster-2 +ENROLLED +no .*ended .*: the agent left, or .*broke$/m,
    );
  });

  test("sight - what an agent refuses is explained with its own words, counted, and told in the status", async () => {
    const text = await readFile(mesh.folder.file("cluster-2", "agent", "identity.json"), "utf8");
    const { current } = JSON.parse(text) as { current: StoredCredentials };
    await using agent = refusingAgent(current, mesh.serverFlags["relayListen"] ?? "");
    await agent.refused;
    const shown = await eventually("the refusal", async () => {
      const explained = await meshctl("relay", "explain", "cluster-2", "istiod-istio-system-cluster-2");
      return explained.includes("refused") ? explained : undefined;
    });
    assert.match(shown, /istiod-istio-system-cluster-2\.gloo-mesh: refused/);
    assert.match(shown, /refused +resource_invalid: no such vault here$/m);
    assert.match(
      shown,
      /next +it is sent again at \d{4}-.*; mend what the agent says; a changed version is sent at once/,
    );
    assert.match(await meshctl("relay", "sessions"), /^cluster-2 .* 1 +resource_invalid: no such vault here$/m);
    assert.match(await metrics(), /^mesh_relay_push_results_total\{outcome="resource_invalid"\} 1$/m);
    assert.match(await metrics(), /^mesh_relay_parked_resources 1$/m);
    await mesh.status("the refusal is told", (view) =>
      (conditionOf(view, "Applied").message ?? "").endsWith("; refused (no such vault here): cluster-2"),
    );
  });

  test("sight - a cluster without a mesh, and one that nobody knows, are told apart", async () => {
    await mesh.register("cluster-3");
    const lonely = await meshctl("relay", "explain", "cluster-3");
    assert.match(lonely, /^cluster cluster-3 is registered and not connected\n +next +its agent has not enrolled/);
    const unknown = await runMeshctl([
      ...["relay", "explain", "cluster-9", "--state-dir", mesh.serverFlags["stateDir"] ?? ""],
    ]);
    assert.deepEqual([unknown.code, unknown.stdout], [1, ""]);
    assert.match(
      unknown.stderr,
      /^error: .*cluster cluster-9 is not registered\nhint: see which are: meshctl cluster list/,
    );
    const other = await runMeshctl([
      ...["relay", "explain", "cluster-1", "gone", "--state-dir", mesh.serverFlags["stateDir"] ?? ""],
    ]);
    assert.match(
      other.stderr,
      /neither a certificate nor a mesh gone\nhint: it has istiod-istio-system-cluster-1\.gloo-mesh/,
    );
  });
});

/** An agent that holds nothing and refuses the first push. */
function refusingAgent({ keyPem, certificatePem, trustBundlePem }: StoredCredentials, address: string) {
  const tls = { rootsPem: trustBundlePem, identity: { keyPem, certificatePem }, minVersion: "TLSv1.3" } as const;
  const dialer = new Dialer({ address, tls, peer: "server" });
  const stop = new AbortController();
  const stream = dialer.bidi(RelayServiceService.connect, stop.signal);
  const hello = { agentVersion: "0", instanceId: "refusing", capabilities: [], held: [] };
  stream.write({ message: { $case: "hello", value: hello } });
  const refused = Promise.withResolvers<undefined>();
  const answer = async (): Promise<void> => {
    for await (const { message } of stream.messages()) {
      if (message?.$case !== "push") continue;
      const { id, upserts } = message.value;
      const results = upserts.map(({ name }) => ({
        ...{ name, outcome: ResourceOutcome.RESOURCE_OUTCOME_REJECTED, code: "resource_invalid" },
        ...{ message: "no such vault here", retriable: true, heldVersion: Buffer.alloc(0) },
      }));
      assert.ok(results.every(({ name }) => name && keyOf(name)));
      const value = { type: ISSUED_CERTIFICATE, id, results, held: digestOf(new Map()), wantWholeSet: false };
      stream.write({ message: { $case: "result", value } });
      refused.resolve(undefined);
    }
  };
  const running = answer().catch(refused.reject);
  return {
    refused: refused.promise,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      dialer.close();
    },
  };
}
