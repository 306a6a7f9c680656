import { randomBytes } from "node:crypto";
import { LeaseCandidate } from "../../common/kube/lease.ts";
import { Latest } from "../../common/runtime/latest.ts";
import { type Leadership, type LeaderTask, leadAll } from "./leadership.ts";
import type { ReplicasOptions } from "./replicas.ts";

/** The replica that holds the Lease `enterprise-networking` leads. */
export class KubernetesLeadership implements Leadership {
  readonly leading = new Latest(false);
  readonly #candidate: LeaseCandidate;

  constructor(options: ReplicasOptions) {
    // New with each start: a replica that was killed must not take its own former lease for this one.
    const identity = `${options.replica}_${randomBytes(4).toString("hex")}`;
    this.#candidate = new LeaseCandidate({ ...options, name: "enterprise-networking", identity });
  }

  async run(tasks: Readonly<Record<string, LeaderTask>>, signal: AbortSignal): Promise<void> {
    await this.#candidate.run(async (stop, term) => {
      this.leading.set(true);
      try {
        await leadAll(tasks, stop, term);
      } finally {
        this.leading.set(false);
      }
    }, signal);
  }
}
