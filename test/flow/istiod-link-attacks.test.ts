import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Dialer } from "../../common/session/client.ts";
import { CertificateState, ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import {
  IstiodServiceService,
  LinkMode,
  type LinkRequest,
  type LinkResponse,
} from "../../proto/gen/istiod/v1/istiod.ts";
import type { FakeTokenRequest } from "../fakes/service-accounts.ts";
import { IstiodLinkWorld, type RunningAgent } from "../harness/istiod-link.ts";

const POD = { podName: "istiod-7d9f-abcde", podUid: "0b6a1f0e-1c52-4f8e-9f2e-3d8a2f6b7c10" };
const HELLO: LinkRequest = {
  message: { $case: "hello", value: { mode: LinkMode.LINK_MODE_SIDECAR, version: "test" } },
};

async function dial(world: IstiodLinkWorld, agent: RunningAgent, authorization?: string) {
  const dialer = new Dialer({
    address: agent.address,
    peer: "agent",
    tls: { rootsPem: await readFile(world.agentCaFile, "utf8"), minVersion: "TLSv1.2" },
    authority: "enterprise-agent.gloo-mesh",
    headers: () => (authorization === undefined ? {} : { authorization }),
  });
  const signal = AbortSignal.timeout(30_000);
  return {
    order: () => dialer.unary(IstiodServiceService.getOrder, {}, { signal }),
    replicas: () => dialer.unary(IstiodServiceService.listReplicas, {}, { signal }),
    unknown: () =>
      dialer.unary({ ...IstiodServiceService.getOrder, path: "/istiod.v1.IstiodService/Steal" }, {}, { signal }),
    link: (...first: readonly LinkRequest[]) => {
      const stream = dialer.bidi(IstiodServiceService.link, signal);
      for (const message of first) stream.write(message);
      return { ...iterate(stream.messages()), stream };
    },
    [Symbol.dispose]: () => dialer.close(),
  };
}

function iterate(messages: AsyncGenerator<LinkResponse, void>) {
  return {
    next: async (): Promise<LinkResponse["message"]> => (await messages.next()).value?.message,
    end: () => messages.return(),
  };
}

test("istiod server - callers without a good token get nowhere, on any method", async () => {
  await using world = await IstiodLinkWorld.start();
  const agent = await world.startAgent();
  world.order();
  const bearer = async (request: Partial<FakeTokenRequest>): Promise<string> =>
    `Bearer ${await world.token({ ...POD, ...request })}`;
  const unbound = {
    "kubernetes.io": { namespace: "istio-system", serviceaccount: { name: "istiod-service-account" } },
  };
  const callers: [what: string, authorization: string | undefined, code: string][] = [
    ["no token", undefined, "unauthenticated"],
    ["basic auth", "Basic aXN0aW9kOmlzdGlvZA==", "unauthenticated"],
    ["nonsense", "Bearer nonsense", "unauthenticated"],
    ["another audience", await bearer({ audience: "istio-ca" }), "unauthenticated"],
    ["an expired token", await bearer({ issuedAtMs: Date.now() - 7_200_000 }), "unauthenticated"],
    ["a token of no pod", await bearer({ claims: unbound }), "unauthenticated"],
    ["another namespace", await bearer({ namespace: "default" }), "permission_denied"],
    ["another account", await bearer({ serviceAccount: "default" }), "permission_denied"],
  ];
  for (const [what, authorization, code] of callers) {
    using client = await dial(world, agent, authorization);
    await assert.rejects(client.order(), { code }, what);
    await assert.rejects(client.replicas(), { code }, what);
    await assert.rejects(client.link(HELLO).next(), { code }, what);
  }
  using good = await dial(world, agent, await bearer({}));
  assert.equal((await good.order()).order?.cluster, "cluster-1");
  await assert.rejects(good.unknown(), { code: "unimplemented" });
  using stranger = await dial(world, agent, await bearer({ podName: "reviews-v1-abcde" }));
  await assert.rejects(stranger.order(), { code: "not_found", message: /no IssuedCertificate is for pod reviews-v1/ });
});

test("istiod server - one pod has one link, and a stream without a hello has none", async () => {
  await using world = await IstiodLinkWorld.start();
  const agent = await world.startAgent();
  world.order();
  using first = await dial(world, agent, `Bearer ${await world.token(POD)}`);
  using second = await dial(world, agent, `Bearer ${await world.token(POD)}`);
  const link = first.link(HELLO);
  assert.equal((await link.next())?.$case, "order");
  await assert.rejects(second.link(HELLO).next(), { code: "conflict", message: /is linked already/ });
  await assert.rejects(second.link({ message: { $case: "heartbeat", value: new Date() } }).next(), {
    code: "invalid_argument",
  });
  using other = await dial(world, agent, `Bearer ${await world.token({ ...POD, podUid: "another-uid" })}`);
  const beside = other.link(HELLO);
  assert.equal((await beside.next())?.$case, "order");
  const [status] = (await other.replicas()).certificates;
  assert.deepEqual(
    status?.replicas.map(({ podUid, connected }) => [podUid, connected]),
    [
      [POD.podUid, true],
      ["another-uid", true],
    ],
  );
  await link.end();
  await agent.book.statuses.until(
    ([summary]) => summary?.replicas.some(({ podUid, connected }) => podUid === POD.podUid && !connected) ?? false,
    AbortSignal.timeout(30_000),
  );
  const again = second.link(HELLO);
  assert.equal((await again.next())?.$case, "order");
  await Promise.all([again.end(), beside.end()]);
});

test("istiod server - a status speaks for the token's pod alone, and its texts are cut", async () => {
  await using world = await IstiodLinkWorld.start();
  const agent = await world.startAgent();
  world.order();
  using client = await dial(world, agent, `Bearer ${await world.token(POD)}`);
  const lie = ReplicaStatus.fromPartial({
    podName: "istiod-of-somebody-else",
    podUid: "stolen",
    podNamespace: "kube-system",
    state: CertificateState.CERTIFICATE_STATE_FAILED,
    evidence: "x".repeat(100_000),
    warnings: Array.from({ length: 1000 }, () => "remark"),
    connected: false,
  });
  const link = client.link(HELLO, { message: { $case: "status", value: lie } });
  const [status] = await agent.book.statuses.until(
    ([summary]) => summary?.state === CertificateState.CERTIFICATE_STATE_FAILED,
    AbortSignal.timeout(30_000),
  );
  const replica = status?.replicas[0];
  assert.deepEqual(
    [replica?.podName, replica?.podUid, replica?.podNamespace, replica?.connected],
    [POD.podName, POD.podUid, "istio-system", true],
  );
  assert.deepEqual([replica?.evidence.length, replica?.warnings.length], [1024, 16]);
  link.stream.cancel();
  const tooLong = client.link(HELLO, {
    message: { $case: "status", value: { ...lie, evidence: "x".repeat(5 * 1024 * 1024) } },
  });
  await assert.rejects(
    async () => {
      while (await tooLong.next());
    },
    { code: "resource_exhausted" },
  );
});
