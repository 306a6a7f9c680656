import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { CertificateState, ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
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
});
