import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Log } from "../../common/runtime/log.ts";
import { bundleDigest } from "../../common/session/tls.ts";
import type { ClusterStore } from "./cluster-store.ts";
import type { RelayPki, RotationStage } from "./pki.ts";
import type { ClusterRecord } from "./records.ts";
import type { RelayCa } from "./relay-ca.ts";

export interface RotationDeps {
  readonly pki: RelayPki;
  readonly store: Pick<ClusterStore, "list">;
  readonly clock: Clock;
  readonly log: Log;
}

/** Names in an error; the rest is counted. */
const MAX_NAMED = 5;

/**
 * Replaces the relay's own root under living agents, in three steps: trust a new one beside it, sign with the new one, drop
 * the old one. Evidence allows a step: a certificate in use was sent with the roots of its time, so its record tells what
 * its agent trusts and who signed it.
 */
export class RelayCaRotation {
  readonly #deps: RotationDeps;

  constructor(deps: RotationDeps) {
    this.#deps = deps;
  }

  get stage(): RotationStage {
    return this.#deps.pki.stage;
  }

  get ca(): RelayCa {
    return this.#deps.pki.ca;
  }

  /** The clusters that the next step would shut out, in order of name. */
  lagging(): readonly ClusterRecord[] {
    const { pki, store, clock } = this.#deps;
    // A further root that is trusted shuts out nobody.
    if (pki.stage === "STABLE") return [];
    return lagging(store.list(), bundleDigest(pki.ca.trustBundlePem).toString("hex"), clock.now());
  }

  /**
   * Takes the step after `from`. Throws `failed_precondition` while it would shut out a cluster, unless `force` says that
   * it may, and what `RelayPki.advance` throws.
   */
  async advance(from: RotationStage, { force = false } = {}): Promise<void> {
    const { pki, log } = this.#deps;
    const late = this.lagging().map(({ name }) => name);
    if (from === pki.stage && late.length > 0 && !force) throw tooEarly(late);
    await pki.advance(from);
    log.warn("relay root rotation went on", {
      from,
      stage: pki.stage,
      trustPin: pki.ca.trustPin,
      lagging: late.length,
    });
  }
}

/** Those whose certificate in use came with other roots than `trust`; one whose certificate has ended is out anyway. */
export function lagging(records: readonly ClusterRecord[], trust: string, nowMs: number): ClusterRecord[] {
  return records.filter(({ state, current, next }) => {
    const notAfterMs = (current ?? next)?.notAfterMs ?? 0;
    return state === "ENROLLED" && current?.trust !== trust && nowMs < notAfterMs;
  });
}

function tooEarly(names: readonly string[]): MeshError {
  const shown = names.slice(0, MAX_NAMED).join(", ");
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : "";
  return new MeshError("failed_precondition", `the next step would shut out ${shown}${more}`, {
    hint: "those that are connected catch up within a minute; for one that stays away: meshctl cluster revoke NAME, or --force, and a new token later",
  });
}
