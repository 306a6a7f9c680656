import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { ServingCertificate } from "../../agent/certs/serving-certificate.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { bidi, unary } from "../../common/session/handlers.ts";
import { startGrpcServer } from "../../common/session/server.ts";
import { AgentLink } from "../../istiod-agent/link/agent-link.ts";
import type { OrderState } from "../../istiod-agent/link/order-state.ts";
import { fileCredential } from "../../istiod-agent/pod/credential.ts";
import { ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { IstiodServiceService, LinkMode, type LinkRequest } from "../../proto/gen/istiod/v1/istiod.ts";
import { FakeServiceAccounts } from "../fakes/service-accounts.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { eventually } from "../harness/wait.ts";

/** An agent that takes whatever it is sent and says nothing. */
async function startMuteAgent(caFile: string, clock: ManualClock) {
  const streams: LinkRequest[][] = [];
  const { credentials } = await ServingCertificate.create(
    { publish: (pem) => writeFileAtomic(caFile, pem, 0o644), namespace: "gloo-mesh", clock },
    new AbortController().signal,
  );
  const server = await startGrpcServer({
    listen: "127.0.0.1:0",
    credentials,
    authorize: () => undefined,
    services: [
      {
        definition: IstiodServiceService,
        implementation: {
          link: bidi(async (requests: AsyncIterable<LinkRequest>) => {
            const stream: LinkRequest[] = [];
            streams.push(stream);
            for await (const request of requests) stream.push(request);
          }),
          getOrder: unary(async () => ({ order: undefined })),
          listReplicas: unary(async () => ({ certificates: [] })),
        },
      },
    ],
  });
  return { server, streams };
}

async function openLink(clock: ManualClock, tokenLifeMs: number) {
  const folder = await temporaryFolder();
  const [caFile, tokenFile] = [folder.file("ca.pem"), folder.file("token")];
  const accounts = await FakeServiceAccounts.create();
  const issuedAtMs = clock.now();
  await writeFile(
    tokenFile,
    await accounts.sign({ audience: "enterprise-agent", issuedAtMs, expiresAtMs: issuedAtMs + tokenLifeMs }),
  );
  const agent = await startMuteAgent(caFile, clock);
  const orders = new Latest<OrderState>({ kind: "waiting", reason: "not linked yet" });
  const statuses = new Latest(ReplicaStatus.fromPartial({ evidence: "first" }));
  const address = agent.server.address;
  const mode = LinkMode.LINK_MODE_SIDECAR;
  const [roots, token] = [fileCredential(caFile), fileCredential(tokenFile)];
  const options = { address, roots, token, mode, orders, statuses, clock, random: () => 0, log: silentLog };
  const stop = new AbortController();
  const running = new AgentLink(options).run(stop.signal);
  return {
    ...agent,
    orders,
    statuses,
    stop,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all([running, agent.server.close(0)]);
      await folder[Symbol.asyncDispose]();
    },
  };
}

const kindsOf = (stream: readonly LinkRequest[] = []): unknown[] => stream.map(({ message }) => message?.$case);

test("agent link - says hello, then its newest status; a mute agent is left and dialled anew", async () => {
  const clock = new ManualClock();
  await using link = await openLink(clock, 3_600_000);
  await eventually("hello and status", async () => kindsOf(link.streams[0]).join() === "hello,status");
  link.statuses.set(ReplicaStatus.fromPartial({ evidence: "skipped" }));
  link.statuses.set(ReplicaStatus.fromPartial({ evidence: "newest" }));
  const told = () =>
    (link.streams[0] ?? []).flatMap(({ message }) => (message?.$case === "status" ? [message.value.evidence] : []));
  await eventually("newest status", async () => told().at(-1) === "newest");
  assert.deepEqual(told(), ["first", "newest"]);
  for (let beat = 1; beat <= 3; beat++) {
    clock.advance(10_000);
    await eventually(`heartbeat ${beat}`, async () => kindsOf(link.streams[0]).length === 3 + beat);
  }
  clock.advance(10_000);
  const state = await link.orders.until(
    (order) => order.kind === "waiting" && order.reason.includes("silent"),
    AbortSignal.timeout(60_000),
  );
  assert.deepEqual(state, { kind: "waiting", reason: "the agent was silent for 40000 ms" });
  await eventually("second stream", async () => kindsOf(link.streams[1]).join() === "hello,status");
});

test("agent link - reopens a tenth of its life before the token ends, and only once with the same token", async () => {
  const clock = new ManualClock();
  await using link = await openLink(clock, 9_000);
  await eventually("first stream", async () => kindsOf(link.streams[0]).length === 2);
  clock.advance(8_100);
  await eventually("second stream", async () => kindsOf(link.streams[1]).length === 2);
  clock.advance(500);
  link.statuses.set(ReplicaStatus.fromPartial({ evidence: "later" }));
  await eventually("status on the second stream", async () => kindsOf(link.streams[1]).length === 3);
  assert.equal(link.streams.length, 2);
});
