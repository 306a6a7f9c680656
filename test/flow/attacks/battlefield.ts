import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { StoredCredentials } from "../../../agent/identity/documents.ts";
import { Dialer } from "../../../common/session/client.ts";
import {
  AdminServiceService,
  ListSessionsRequest,
  type ClusterSession,
  RegistryServiceService,
} from "../../../proto/gen/admin/v1/admin.ts";
import { type ConnectRequest, RelayServiceService } from "../../../proto/gen/relay/v1/relay.ts";
import { eventually } from "../../harness/wait.ts";
import { FlowMesh, replicaOf, withTtlDays } from "../mesh.ts";
import { launchProcess } from "../program.ts";

/** One thing that somebody tries over the wire. */
export interface Attack {
  /** As SECURITY.md lists it. */
  readonly name: string;
  /** Tries it; throws when somebody gets in who shall not. */
  readonly attempt: (field: Battlefield) => Promise<void>;
}

/** What an attack may cost the server; generous, because a test machine may be busy building. */
const MAX_GROWTH_BYTES = 256 * 1024 * 1024;
const MAX_LOOP_DELAY_S = 2;

/** Options of a call that ends in any case. */
export const call = () => ({ signal: new AbortController().signal, timeoutMs: 20_000 });

type Listener = "relayListen" | "enrollmentListen" | "adminListen" | "monitorListen";

/** Server and agents as processes of their own; cluster-2's agent is stopped and its identity stolen. */
export class Battlefield implements AsyncDisposable {
  readonly mesh: FlowMesh;
  readonly stolen: StoredCredentials;
  readonly #healthy: ClusterSession;
  #ttlDays = 100;

  private constructor(mesh: FlowMesh, stolen: StoredCredentials, healthy: ClusterSession) {
    this.mesh = mesh;
    this.stolen = stolen;
    this.#healthy = healthy;
  }

  static async start(): Promise<Battlefield> {
    // Nothing may depend on a mask that keeps others out.
    const mask = process.umask(0);
    const mesh = await FlowMesh.start({ launch: launchProcess });
    try {
      await mesh.apply();
      await mesh.clusters[0].pod.startSidecar();
      await sessionOf(mesh, "cluster-2");
      await mesh.clusters[1].agent.stop();
      const text = await readFile(mesh.folder.file("cluster-2", "agent", "identity.json"), "utf8");
      const { current } = JSON.parse(text) as { current: StoredCredentials };
      return new Battlefield(mesh, current, await sessionOf(mesh, "cluster-1"));
    } catch (error) {
      await mesh[Symbol.asyncDispose]();
      throw error;
    } finally {
      process.umask(mask);
    }
  }

  address(name: Listener): string {
    return this.mesh.serverFlags[name] ?? "";
  }

  /** A channel to 9900 with the stolen identity, or another one. */
  intruder({ keyPem, certificatePem, trustBundlePem: rootsPem } = this.stolen): Dialer {
    const tls = { rootsPem, identity: { keyPem, certificatePem }, minVersion: "TLSv1.3" } as const;
    return new Dialer({ address: this.address("relayListen"), tls, peer: "server" });
  }

  /** A channel to 9901. */
  stranger(): Dialer {
    const tls = { rootsPem: this.stolen.trustBundlePem, minVersion: "TLSv1.3" } as const;
    return new Dialer({ address: this.address("enrollmentListen"), tls, peer: "server" });
  }

  /** The operator's own way in. */
  operator(): Dialer {
    return new Dialer({ address: `unix:${this.mesh.folder.file("server", "admin.sock")}`, peer: "server" });
  }

  session(cluster: string): Promise<ClusterSession> {
    return sessionOf(this.mesh, cluster);
  }

  /** The attack, and what it may cost: bounded memory and loop delay of the server; the healthy cluster notices nothing. */
  async endure({ attempt }: Attack): Promise<void> {
    const before = await this.#cost();
    await attempt(this);
    const after = await this.#cost();
    const growth = after.memoryBytes - before.memoryBytes;
    assert.ok(growth < MAX_GROWTH_BYTES, `the server grew by ${growth} bytes`);
    assert.ok(after.loopDelayS < MAX_LOOP_DELAY_S, `the server's event loop stood still for ${after.loopDelayS} s`);
    await this.assertUnharmed();
  }

  /** Cluster 1 has the session that it had before all attacks, is linked to its istiod, and gets the next push. */
  async assertUnharmed(): Promise<void> {
    const { sessionId, connected } = await this.session("cluster-1");
    assert.deepEqual([sessionId, connected], [this.#healthy.sessionId, true]);
    const view = await this.mesh.status("cluster-1 speaks", (seen) => replicaOf(seen, "cluster-1") !== undefined);
    assert.equal(replicaOf(view, "cluster-1")?.connected, true);
    await this.push();
  }

  /** Changes what all clusters shall hold, and waits until the healthy one has stored it. */
  async push(): Promise<void> {
    const [before] = (await this.mesh.intent("cluster-1")).resources;
    this.#ttlDays += 1;
    await this.mesh.apply(withTtlDays(this.#ttlDays));
    await eventually("cluster-1 stored the change", async () => {
      const [now] = (await this.mesh.intent("cluster-1")).resources;
      return now?.acknowledged === true && before?.version.equals(now.version) === false;
    });
  }

  /** A figure of the server's /metrics. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://${this.address("monitorListen")}/metrics`)).text();
    const line = text.split("\n").find((each) => each.startsWith(`${name} `));
    return Number(line?.slice(name.length + 1));
  }

  /** The loop delay is the longest since it was asked last. */
  async #cost(): Promise<{ memoryBytes: number; loopDelayS: number }> {
    const text = await (await fetch(`http://${this.address("monitorListen")}/metrics`)).text();
    const figure = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
    const cost = {
      memoryBytes: figure("process_resident_memory_bytes"),
      loopDelayS: figure("nodejs_eventloop_lag_max_seconds"),
    };
    assert.ok(Object.values(cost).every(Number.isFinite), JSON.stringify(cost));
    return cost;
  }

  /** Throws unless this identity is refused at every door of 9900, with that code. */
  async assertOpensNothing(identity: StoredCredentials, code: string): Promise<void> {
    const dialer = this.intruder(identity);
    const renewal = { certificateSigningRequest: "" };
    const registration = { cluster: "cluster-1", tokenTtlSeconds: 0, renewToken: true };
    try {
      await assert.rejects(connectAs(dialer, new AbortController().signal).next(), { code }, "Connect");
      await assert.rejects(dialer.unary(RelayServiceService.renewCertificate, renewal, call()), { code }, "Renew");
      await assert.rejects(
        dialer.unary(AdminServiceService.listSessions, ListSessionsRequest.create(), call()),
        (error: { code: string }) => [code, "permission_denied"].includes(error.code),
      );
      await assert.rejects(
        dialer.unary(RegistryServiceService.registerCluster, registration, call()),
        (error: { code: string }) => [code, "permission_denied"].includes(error.code),
      );
    } finally {
      dialer.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }
}

async function sessionOf(mesh: FlowMesh, cluster: string): Promise<ClusterSession> {
  const dialer = new Dialer({ address: mesh.serverFlags["adminListen"] ?? "", peer: "server" });
  try {
    return await eventually(`${cluster} has a session`, async () => {
      const { sessions } = await dialer.unary(AdminServiceService.listSessions, ListSessionsRequest.create(), call());
      return sessions.find((each) => each.cluster === cluster && each.connected);
    });
  } finally {
    dialer.close();
  }
}

/** A session that says hello, and then what it is told to. */
export function connectAs(dialer: Dialer, signal: AbortSignal, instanceId = "") {
  const stream = dialer.bidi(RelayServiceService.connect, signal);
  const messages = stream.messages();
  const agentVersion = `evil\u001b[2J${"x".repeat(2_000_000)}`;
  const say = (message: NonNullable<ConnectRequest["message"]>): boolean => stream.write({ message });
  say({ $case: "hello", value: { agentVersion, instanceId, capabilities: [], held: [] } });
  return {
    say,
    next: async () => (await messages.next()).value?.message,
    /** Reads to the end; rejects with what ended it. */
    end: async () => {
      for await (const _ of messages);
    },
  };
}
