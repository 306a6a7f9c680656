import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CertificateState, IssuedCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import { createRootCa, signCertificate, type Authority } from "../../common/pki/authority.ts";
import { generateKey } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { Installer } from "../install/installer.ts";
import type { Issued } from "../issue/obtain.ts";
import type { IssueOrder } from "../issue/order.ts";
import { proveSigningCa } from "../issue/signing-ca.ts";
import type { OrderState } from "../link/order-state.ts";
import { fileCredentials } from "../pod/credentials.ts";
import type { ProofOutcome } from "../prove/outcome.ts";
import { renewalFaults } from "./health.ts";
import { Keeper } from "./keeper.ts";
import type { KeeperState } from "./state.ts";

const DAY_MS = 86_400_000;
const EC = { type: "ec", curve: "P-256" } as const;
const POD = {
  podName: "istiod-1",
  podNamespace: "istio-system",
  serviceAccount: "istiod",
};
const CREDENTIALS = fileCredentials({ serviceAccountDir: "/sa", secretsDir: "/secrets", agentCaFile: "/ca.pem" });

function order({ role = "istio", ttlDays = 10, version = 1 } = {}): OrderState {
  const certificate = IssuedCertificate.fromPartial({
    name: { namespace: "gloo-mesh", name: "istiod-istio-system-cluster-1" },
    options: { ttlDays, keySizeBits: 256 },
    certificateAuthority: { $case: "vault", value: { auth: { $case: "kubernetesAuth", value: { role } } } },
  });
  return { kind: "order", order: { certificate, version: Buffer.alloc(32, version), cluster: "cluster-1" } };
}

/** Tells whether the keeper sleeps, that is, has done all that there was to do. */
class WatchedClock extends ManualClock {
  sleeping = 0;

  override async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.sleeping += 1;
    try {
      await super.sleep(ms, signal);
    } finally {
      this.sleeping -= 1;
    }
  }
}

/** A keeper over a directory of its own, with a Vault and an istiod that do as the test says. */
class Bench implements AsyncDisposable {
  readonly clock = new WatchedClock(Math.floor(Date.now() / 1000) * 1000);
  readonly orders = new Latest<OrderState>({ kind: "waiting", reason: "no VirtualMesh yet" });
  readonly asked: IssueOrder[] = [];
  readonly outcomes: string[] = [];
  vaultFault: MeshError | undefined;
  proof: ProofOutcome = { kind: "absent", why: "nobody there" };
  readonly directory: string;
  readonly keeper: Keeper;
  readonly #root: Authority;
  readonly #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  private constructor(directory: string, root: Authority) {
    this.directory = directory;
    this.#root = root;
    this.keeper = this.newKeeper();
  }

  static async create(): Promise<Bench> {
    const directory = join(await mkdtemp(join(tmpdir(), "mesh-relay-")), "cacerts");
    await mkdir(directory);
    const key = await generateKey(EC);
    const validity = { notBeforeMs: Date.now() - DAY_MS, notAfterMs: Date.now() + 3650 * DAY_MS };
    const certificate = await createRootCa({ subject: { organization: "my-org" }, key, ...validity });
    return new Bench(directory, { certificate, key });
  }

  newKeeper(): Keeper {
    return new Keeper({
      pod: POD,
      credentials: CREDENTIALS,
      directory: this.directory,
      orders: this.orders,
      obtain: (wanted) => this.#obtain(wanted),
      onAttempt: (outcome) => this.outcomes.push(outcome),
      clock: this.clock,
      random: () => 0.5,
      log: silentLog,
    });
  }

  start(keeper = this.keeper): void {
    this.#running = this.#run(keeper).catch((error: unknown) => {
      if (!this.#stop.signal.aborted) throw error;
    });
  }

  async #run(keeper: Keeper): Promise<void> {
    await using installer = await Installer.open({ directory: this.directory, clock: this.clock });
    const workplace = { installer, prove: async () => this.proof };
    await keeper.adopt(workplace);
    await keeper.run(workplace, this.#stop.signal);
  }

  async #obtain(wanted: IssueOrder): Promise<Issued> {
    this.asked.push(wanted);
    if (this.vaultFault) throw this.vaultFault;
    const key = await generateKey(EC);
    const nowMs = this.clock.now();
    const certificate = await signCertificate({
      issuer: this.#root,
      subject: { commonName: wanted.commonName },
      publicKey: key,
      ca: {},
      notBeforeMs: nowMs,
      notAfterMs: nowMs + wanted.ttlSeconds * 1000,
    });
    const ca = await proveSigningCa({ key, certificate, pool: [this.#root.certificate], nowMs });
    return { ...ca, warnings: ["a remark"], vaultWarnings: [] };
  }

  until(accept: (state: KeeperState) => boolean, keeper = this.keeper): Promise<KeeperState> {
    return keeper.states.until(accept, AbortSignal.timeout(30_000));
  }

  /** Resolves when the keeper has nothing to do but wait. */
  async settled(): Promise<void> {
    const deadlineMs = performance.now() + 30_000;
    do {
      await new Promise((resolve) => setImmediate(resolve));
      assert.ok(performance.now() < deadlineMs, "the keeper does not come to rest");
    } while (this.clock.sleeping === 0);
  }

  async stop(): Promise<void> {
    this.#stop.abort(new MeshError("canceled", "stopped"));
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(join(this.directory, ".."), { recursive: true });
  }
}

const serialOf = ({ held }: KeeperState): string | undefined => held?.ca.facts.serial;
const stage = (bench: Bench): CertificateState | undefined => bench.keeper.statuses.value?.state;

test("keeper - issues, then finishes when istiod signs, and renews in time with a fresh key", async () => {
  await using bench = await Bench.create();
  bench.start();
  await bench.settled();
  assert.equal(stage(bench), CertificateState.CERTIFICATE_STATE_PENDING);
  assert.equal(bench.keeper.statuses.value?.evidence, "no VirtualMesh yet");
  bench.orders.set(order());
  const issued = await bench.until((state) => state.held?.proof?.kind === "absent");
  assert.equal(stage(bench), CertificateState.CERTIFICATE_STATE_ISSUED);
  const firstKey = await readFile(join(bench.directory, "ca-key.pem"), "utf8");

  bench.proof = { kind: "proved", evidence: "istiod signed", leafSerial: "01", atMs: 0 };
  await bench.settled();
  bench.clock.advance(1_000);
  await bench.until((state) => state.held?.proof?.kind === "proved");
  assert.equal(stage(bench), CertificateState.CERTIFICATE_STATE_FINISHED);

  const renewAtMs = bench.keeper.statuses.value.renewAt?.getTime() ?? 0;
  assert.ok(Math.abs(renewAtMs - bench.clock.now() - 5 * DAY_MS) < 0.6 * DAY_MS, "about half of ten days");
  await bench.settled();
  bench.clock.advance(renewAtMs - bench.clock.now() - 1);
  await bench.settled();
  assert.equal(bench.asked.length, 1, "not a moment too early");
  bench.clock.advance(2);
  const renewed = await bench.until((state) => serialOf(state) !== serialOf(issued) && state.held?.proof !== undefined);
  assert.notEqual(await readFile(join(bench.directory, "ca-key.pem"), "utf8"), firstKey);
  assert.equal(renewed.held?.ca.facts.rootSha256, issued.held?.ca.facts.rootSha256);
  assert.equal(bench.asked[1]?.expectedRootSha256, issued.held?.ca.facts.rootSha256, "no other root is accepted now");
  assert.deepEqual(bench.outcomes, ["ok", "ok"]);
});

test("keeper - a renewal that fails keeps the old CA, waits its time, and tries at once with a changed order", async () => {
  await using bench = await Bench.create();
  bench.orders.set(order());
  bench.start();
  const { held } = await bench.until((state) => state.held !== undefined);
  bench.vaultFault = new MeshError("vault_denied", "no", { hint: "allow it" });
  await bench.settled();
  bench.clock.advance(6 * DAY_MS);
  const failed = await bench.until((state) => state.failure !== undefined);
  assert.equal(failed.held?.ca, held?.ca);
  assert.deepEqual(bench.keeper.statuses.value?.error, { code: "vault_denied", message: "no", hint: "allow it" });
  assert.deepEqual(renewalFaults(failed, POD, bench.clock.now()), ["vault_denied: no"]);
  const late = renewalFaults(failed, POD, bench.clock.now() + 3 * DAY_MS);
  assert.match(late[1] ?? "", /^the certificate ends in 2\d h and was to be renewed at /);

  bench.vaultFault = new MeshError("vault_rejected", "wrong path");
  await bench.settled();
  bench.clock.advance(1_000);
  await bench.until(({ failure }) => failure?.error.code === "vault_rejected");
  await bench.settled();
  bench.clock.advance(50_000);
  await bench.settled();
  assert.equal(bench.asked.length, 3, "what an operator must mend is not asked again within a minute");
  bench.vaultFault = undefined;
  bench.orders.set(order({ role: "other", version: 2 }));
  const healed = await bench.until((state) => serialOf(state) !== held?.ca.facts.serial);
  assert.equal(healed.failure, undefined);
  assert.deepEqual(bench.outcomes, ["ok", "vault_denied", "vault_rejected", "ok"]);
});

test("keeper - a restart adopts what it finds, and sees whether the order has changed meanwhile", async () => {
  await using bench = await Bench.create();
  bench.orders.set(order());
  bench.start();
  const { held } = await bench.until((state) => state.held !== undefined);
  await bench.settled();
  await bench.stop();

  const open = () => Installer.open({ directory: bench.directory, clock: bench.clock });
  const same = bench.newKeeper();
  {
    await using installer = await open();
    await same.adopt({ installer });
    await same.runUntilHeld({ installer }, AbortSignal.timeout(30_000));
  }
  assert.equal(bench.asked.length, 1);
  assert.deepEqual(same.statuses.value?.warnings, ["a remark"]);
  assert.equal(same.statuses.value.serial, held?.ca.facts.serial);

  bench.orders.set(order({ ttlDays: 20, version: 2 }));
  const changed = bench.newKeeper();
  const stop = new AbortController();
  await using installer = await open();
  await changed.adopt({ installer });
  const running = changed.run({ installer }, stop.signal);
  await bench.until((state) => serialOf(state) !== held?.ca.facts.serial && !state.issuing, changed);
  stop.abort();
  await assert.rejects(running);
  assert.equal(bench.asked.length, 2);
});
