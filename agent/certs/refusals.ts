import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { PodIdentity } from "./token-reviewer.ts";

/** Whom a refusal hit, as far as it is known. */
export interface RefusedCaller {
  readonly peer: string;
  readonly pod?: string;
  readonly uid?: string;
}

/** How the log names a pod. */
export const podFields = ({ podName, podNamespace, podUid }: PodIdentity) => ({
  pod: `${podNamespace}/${podName}`,
  uid: podUid,
});

/** A caller that is refused comes back every few seconds: the same refusal is told again after this time. */
const REPEAT_MS = 10 * 60_000;
/** Different refusals that are remembered; who makes up more of them fills the log, and no memory. */
const MAX_REMEMBERED = 256;

/** Tells of refused istiod-agents in the log, so that the reason stands at both ends. */
export class Refusals {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #toldAtMs = new Map<string, number>();

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Logs the refusal, if it is a new one. */
  tell(caller: RefusedCaller, thrown: unknown): void {
    const err = MeshError.from(thrown);
    // A pod that is not known stands for itself by its address; the port of that is another one each time.
    const who = caller.pod ?? caller.peer.replace(/:\d+$/, "");
    const key = [who, caller.uid, err.code, err.message].join("\0");
    const nowMs = this.#clock.now();
    if (nowMs - (this.#toldAtMs.get(key) ?? -Infinity) < REPEAT_MS) return;
    this.#toldAtMs.delete(key);
    this.#toldAtMs.set(key, nowMs);
    const [oldest] = this.#toldAtMs.keys();
    if (this.#toldAtMs.size > MAX_REMEMBERED && oldest !== undefined) this.#toldAtMs.delete(oldest);
    this.#log.warn("istiod-agent refused", { ...caller, err });
  }
}
