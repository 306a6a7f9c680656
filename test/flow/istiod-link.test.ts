import assert from "node:assert/strict";
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { LinkBook } from "../../agent/certs/links.ts";
import { certificateFacts, parseCertificate } from "../../common/pki/certificate.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { createVaultRoot } from "../../demo/vault-setup.ts";
import { runInitContainer, runSidecar } from "../../istiod-agent/modes.ts";
import {
  CertificateState,
  certificateStateToJSON,
  type IssuedCertificateStatus,
  type ReplicaStatus,
} from "../../proto/gen/certificates/v1/certificates.ts";
import { EC_KEY, IstiodLinkWorld, type IstiodPod } from "../harness/istiod-link.ts";
import { eventually } from "../harness/wait.ts";

const FILES = ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"];
const TIMEOUT_MS = 60_000;

/** The status as the relay would send it, once `accept` holds for its first replica. */
async function statusWhere(book: LinkBook, accept: (replica: ReplicaStatus) => boolean): Promise<ReplicaStatus> {
  const matches = ([status]: readonly IssuedCertificateStatus[]): boolean => status?.replicas.some(accept) ?? false;
  const statuses = await book.statuses.until(matches, AbortSignal.timeout(TIMEOUT_MS));
  return statuses[0]?.replicas.find(accept) ?? assert.fail();
}

const isState =
  (state: CertificateState) =>
  (replica: ReplicaStatus): boolean =>
    replica.state === state;
const { CERTIFICATE_STATE_ISSUED: ISSUED, CERTIFICATE_STATE_FAILED: FAILED } = CertificateState;

async function installed({ cacertsDir }: IstiodPod) {
  const read = (file: string): Promise<string> => readFile(join(cacertsDir, file), "utf8");
  const [certificate = "", key = "", , root = ""] = await Promise.all(FILES.map(read));
  return { ...certificateFacts(parseCertificate(certificate)), key, root };
}

const listed = async ({ cacertsDir }: IstiodPod): Promise<string[]> =>
  (await readdir(cacertsDir)).filter((name) => name.endsWith(".pem")).sort();

/** Runs a sidecar for the length of a scope. */
function sidecar(pod: IstiodPod): AsyncDisposable & { readonly monitor: Promise<string> } {
  const stop = new AbortController();
  const { promise: monitor, resolve } = Promise.withResolvers<string>();
  const running = runSidecar(pod.config, { log: silentLog, signal: stop.signal }, resolve);
  return {
    monitor,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

function init(pod: IstiodPod, signal = AbortSignal.timeout(TIMEOUT_MS)): Promise<void> {
  return runInitContainer(pod.config, { log: silentLog, signal });
}

test("istiod link - the init container waits for an order, writes the four files and ends", async () => {
  await using world = await IstiodLinkWorld.start();
  const vault = await world.startVault();
  const agent = await world.startAgent();
  const pod = await world.createPod(agent.address, vault.address);
  const done = init(pod);
  const waiting = await eventually("the waiting pod is listed", async () => {
    return agent.book
      .list()
      .flatMap(({ replicas }) => replicas)[0]
      ?.evidence.includes("no VirtualMesh");
  });
  assert.ok(waiting);
  assert.deepEqual(await listed(pod), []);
  world.order();
  await done;
  assert.deepEqual(await listed(pod), FILES);
  assert.equal((await stat(join(pod.cacertsDir, "ca-key.pem"))).mode & 0o777, 0o600);
  const facts = await installed(pod);
  assert.equal(facts.subject, "O=gloo-mesh, CN=istiod-istio-system-cluster-1");
  assert.deepEqual(facts.uriSans, ["spiffe://cluster.local/ns/istio-system/sa/istiod-service-account"]);
  assert.equal(facts.root, world.root.certificatePem.trimEnd());
  const replica = await statusWhere(agent.book, ({ connected }) => !connected);
  assert.deepEqual(
    [certificateStateToJSON(replica.state), replica.serial, replica.podUid, replica.directory],
    ["CERTIFICATE_STATE_ISSUED", facts.serial, pod.uid, pod.cacertsDir],
  );
  await init(pod);
  assert.equal((await installed(pod)).serial, facts.serial, "a sound set is adopted, not issued anew");
});

test("istiod link - the sidecar adopts, and a changed order gives a new key under the same root", async () => {
  await using world = await IstiodLinkWorld.start();
  const vault = await world.startVault();
  const agent = await world.startAgent();
  const pod = await world.createPod(agent.address, vault.address);
  world.order();
  await init(pod);
  const first = await installed(pod);
  await using running = sidecar(pod);
  const adopted = await statusWhere(agent.book, (replica) => replica.connected && replica.state === ISSUED);
  assert.equal(adopted.serial, first.serial);
  world.order({ options: { ttlDays: 20 }, vault: { csrPath: "" } });
  const renewed = await statusWhere(agent.book, ({ serial }) => serial !== "" && serial !== first.serial);
  const second = await installed(pod);
  assert.deepEqual([renewed.serial, renewed.state], [second.serial, ISSUED]);
  assert.notEqual(second.key, first.key);
  assert.equal(second.root, first.root);
  assert.ok(
    Math.abs(second.notAfterMs - Date.now() - 20 * 86_400_000) < 3_600_000,
    new Date(second.notAfterMs).toISOString(),
  );
  const unproved = await statusWhere(agent.book, ({ evidence }) => evidence.includes("ECONNREFUSED"));
  assert.equal(unproved.state, ISSUED, "an istiod that is not there is a state, not a failure");
  const monitor = await running.monitor;
  assert.equal((await fetch(`http://${monitor}/renewalz`)).status, 200);
  const metrics = await (await fetch(`http://${monitor}/metrics`)).text();
  assert.match(metrics, /^istiod_agent_vault_attempts_total\{outcome="ok"\} 1$/m);
  assert.match(metrics, /^istiod_agent_link_up 1$/m);
  assert.match(metrics, /^istiod_agent_ca_runway_hours 4(79|80)\b/m);
});

test("istiod link - a vault that is away or has another root leaves the certificate in force", async () => {
  await using world = await IstiodLinkWorld.start();
  const vault = await world.startVault();
  const agent = await world.startAgent();
  const pod = await world.createPod(agent.address, vault.address);
  world.order();
  await init(pod);
  const first = await installed(pod);
  await using running = sidecar(pod);
  await vault.close();
  world.order({ options: { ttlDays: 20 } });
  const away = await statusWhere(agent.book, isState(FAILED));
  assert.deepEqual([away.error?.code, away.serial], ["vault_unreachable", first.serial]);
  const monitor = await running.monitor;
  assert.match(await (await fetch(`http://${monitor}/renewalz`)).text(), /^vault_unreachable: /);
  assert.equal((await fetch(`http://${monitor}/readyz`)).status, 200);

  const stranger = await world.startVault(await createVaultRoot("another-org", EC_KEY, Date.now()));
  world.order({ options: { ttlDays: 20 }, vault: { server: stranger.address } });
  const other = await statusWhere(agent.book, ({ error }) => error?.code === "ca_other_root");
  assert.equal(other.serial, first.serial);
  assert.equal((await installed(pod)).serial, first.serial);

  const mended = await world.startVault();
  world.order({ options: { ttlDays: 20 }, vault: { server: mended.address } });
  const healed = await statusWhere(
    agent.book,
    (replica) => replica.state === ISSUED && replica.serial !== first.serial,
  );
  assert.deepEqual([healed.error, healed.vaultServer], [undefined, mended.address]);
  assert.equal((await installed(pod)).root, first.root);
});

test("istiod link - an agent that restarts with another CA is linked again, and the order outlives it", async () => {
  await using world = await IstiodLinkWorld.start();
  const vault = await world.startVault();
  const agent = await world.startAgent();
  const pod = await world.createPod(agent.address, vault.address);
  world.order();
  await using _running = sidecar(pod);
  const { serial } = await statusWhere(agent.book, isState(ISSUED));
  await agent.stop();
  const again = await world.startAgent(agent.address);
  const replica = await statusWhere(again.book, ({ connected }) => connected);
  assert.equal((await statusWhere(again.book, isState(ISSUED))).serial, serial);
  assert.equal(replica.podUid, pod.uid);
});

test("istiod link - a stream ends with its token and is opened again with a fresh one", async () => {
  await using world = await IstiodLinkWorld.start();
  const vault = await world.startVault();
  const agent = await world.startAgent();
  const pod = await world.createPod(agent.address, vault.address);
  const request = { podName: "istiod-7d9f-abcde", podUid: pod.uid };
  await writeFile(pod.tokenFile, await world.token({ ...request, expiresAtMs: Date.now() + 3_000 }));
  world.order();
  await using _running = sidecar(pod);
  await statusWhere(agent.book, isState(ISSUED));
  await rm(pod.tokenFile);
  await statusWhere(agent.book, ({ connected }) => !connected);
  await writeFile(pod.tokenFile, await world.token(request));
  await statusWhere(agent.book, ({ connected }) => connected);
});

test("istiod link - init container that is stopped early does not say that it is done", async () => {
  await using world = await IstiodLinkWorld.start();
  const agent = await world.startAgent();
  const pod = await world.createPod(agent.address, "http://127.0.0.1:1");
  const stop = new AbortController();
  const done = init(pod, stop.signal);
  await eventually("linked", async () => agent.book.list().length > 0);
  stop.abort();
  await assert.rejects(done, (error) => error instanceof MeshError && error.code === "failed_precondition");
  assert.deepEqual(await listed(pod), []);
});
