/**
 * A fault put into the product, and what the simulation says of it. Faults that it does not find: an agent that believes
 * after a save that failed that nothing was stored (agent/apply/intent-holder.test.ts), a server that keeps the session
 * of an agent that sends and does not read, because no agent of ours does that (server/relay/hub.test.ts), and one that
 * takes a leader that comes back once for a clone, because these agents have no replicas (server/identity/clone-watch.test.ts).
 */
export interface Mutant {
  readonly name: string;
  readonly changes: readonly { readonly file: string; readonly find: string; readonly replace: string }[];
  readonly found: RegExp;
}

const PUSH_MACHINE = "server/relay/push-machine.ts";
const HUB = "server/relay/hub.ts";
const SESSION = "server/relay/session.ts";
const APPLY = "agent/apply/apply-machine.ts";
const HOLDER = "agent/apply/intent-holder.ts";
const CLIENT = "agent/relay/relay-client.ts";

const one = (name: string, found: RegExp, [file, find, replace]: readonly [string, string, string]): Mutant => ({
  name,
  found,
  changes: [{ file, find, replace }],
});

export const MUTANTS: readonly Mutant[] = [
  {
    name: "no digest is checked, neither what the agent holds nor what a push leads to",
    changes: [
      { file: APPLY, find: "Buffer.compare(push.base, heldDigest(held)) !== 0", replace: "false" },
      { file: APPLY, find: "Buffer.compare(push.digest, digestAfter(held, push, upserts)) !== 0", replace: "false" },
      { file: PUSH_MACHINE, find: "!this.#held || !equal(heldDigest, this.#held.digest)", replace: "false" },
      { file: PUSH_MACHINE, find: "equal(result.held, held.digest) ? held : undefined", replace: "held" },
    ],
    found: /is not as it shall be|is held and not wanted/,
  },
  one("a refused version is sent again", /again that was refused/, [
    PUSH_MACHINE,
    "if (parked?.version !== version || parked.retryAtMs <= nowMs) due.push(entry);",
    "due.push(entry);",
  ]),
  one("a refusal holds up the version that has replaced the refused one", /is not as it shall be/, [
    PUSH_MACHINE,
    "if (this.#desired.resources.get(key)?.version !== version) return;",
    'version = this.#desired.resources.get(key)?.version ?? "";',
  ]),
  one("what was refused for now is never tried again", /is not as it shall be/, [
    PUSH_MACHINE,
    "refusal.retriable ? nowMs + waitMs : Infinity",
    "Infinity",
  ]),
  one("a push that was under way when the session ended is still waited for", /is not as it shall be|await/, [
    PUSH_MACHINE,
    "this.#agentVersion = agentVersion;\n    this.#inFlight = undefined;",
    "this.#agentVersion = agentVersion;",
  ]),
  one("a second push does not wait for the result of the first", /two pushes to/, [
    PUSH_MACHINE,
    "if (this.#inFlight || nowMs",
    "if (nowMs",
  ]),
  one("absence is taken for removal", /was taken for removed, and nobody removed it/, [
    APPLY,
    "detached.set(key, { resource, removed: false });",
    "detached.set(key, { resource, removed: true });",
  ]),
  one("what is absent is gone", /was removed from/, [
    APPLY,
    "if (!managed.has(key) && !detached.has(key))",
    "if (false)",
  ]),
  one("the version before a refused one is dropped", /was detached, and was never absent/, [
    APPLY,
    "if (previous) managed.set(key, previous);",
    "",
  ]),
  one("what nobody removed is let go because nobody uses it", /was let go by .*, and nobody removed it/, [
    APPLY,
    "!removed || isUsed(key)",
    "isUsed(key)",
  ]),
  one("a result is sent before it is stored", /acknowledged what it has not stored/, [
    HOLDER,
    "const refusals = await this.#save(wanted.next);",
    "this.#save(wanted.next).catch(() => undefined);\n      const refusals = new Map<string, MeshError>();",
  ]),
  one("sessions are served before the intent was read", /was detached, and was never absent/, [
    HUB,
    "this.#options.notReady();",
    "[];",
  ]),
  {
    name: "the end of an old session takes the place of the new one",
    changes: [
      { file: "server/relay/agents.ts", find: "if (this.#sessions.get(cluster) !== session) return;", replace: "" },
      // Which the old one's end before the new one's beginning hides.
      {
        file: HUB,
        find: "if (recorded && session.info.epoch < recorded.epoch)",
        replace: "if (recorded === undefined)",
      },
    ],
    found: /sessions|calls are served/,
  },
  one("a session that has begun at another replica is not heard of", /has two sessions for long/, [
    HUB,
    "if (recorded && session.info.epoch < recorded.epoch)",
    "if (recorded === undefined)",
  ]),
  one("acknowledged removals are not forgotten", /removals wait for their acknowledgement/, [
    HUB,
    "this.#options.intents.forgetRemovals(cluster, machine.acknowledgedRemovals);",
    "",
  ]),
  one("it is written although there is no room", /is written to although it has no room/, [
    SESSION,
    "if (this.#blocked || this.#ended.signal.aborted) return;",
    "if (this.#ended.signal.aborted) return;",
  ]),
  one("what became due while there was no room is forgotten", /is not as it shall be|not acknowledged/, [
    SESSION,
    "this.#blockedSinceMs = Infinity;\n      this.flush();",
    "this.#blockedSinceMs = Infinity;",
  ]),
  one("what changed while a push was under way is forgotten", /is not as it shall be|is not acknowledged|its fate/, [
    SESSION,
    "this.unansweredSinceMs = Infinity;\n        this.flush();",
    "this.unansweredSinceMs = Infinity;",
  ]),
  one("the server waits for an agent that is silent", /old status|is not as it shall be|calls are served/, [
    SESSION,
    "if (silentMs > heartbeatMs * MISSED_HEARTBEATS)",
    "if (silentMs < 0)",
  ]),
  one("the agent waits for a server that does not greet", /sessions|calls are served|is not as it shall be/, [
    CLIENT,
    "if (silentMs > session.heartbeatMs * MISSED_HEARTBEATS)",
    "if (session.isWelcome && silentMs > session.heartbeatMs * MISSED_HEARTBEATS)",
  ]),
  one("a new session is told what changed, as if the server knew the rest", /the server has an old status/, [
    "agent/relay/status-diff.ts",
    "whole: before === undefined",
    "whole: false",
  ]),
  one("a call that is cancelled before its hello is waited for", /calls are served/, [
    "server/relay/hello.ts",
    "if (reason !== HEARD) throw reason;",
    "void reason;",
  ]),
  one("an agent that reconnects is called a clone", /was called a clone, and there is none/, [
    "server/identity/clone-watch.ts",
    "if (before.at(-1) === name) return { turns: before, isClone: false };",
    "",
  ]),
  one("each replica knows nothing of the turns at others", /took turns, and nobody saw it/, [
    "server/store/kubernetes-sessions.ts",
    "takeTurn(found?.status?.session?.turns ?? [], instance)",
    "takeTurn(found?.status?.session?.replica === replica ? (found.status.session.turns ?? []) : [], instance)",
  ]),
  one("a server that is alone does not keep the turns", /took turns, and nobody saw it/, [
    "server/store/local-sessions.ts",
    "this.#turns.set(cluster, turns);",
    "",
  ]),
  one("an agent is taken to hold what another with its identity has acknowledged", /is not as it shall be/, [
    PUSH_MACHINE,
    "!this.#held || !equal(heldDigest, this.#held.digest)",
    "!this.#held",
  ]),
  one("no place is kept for who was told to come back", /agents were not let in/, [
    "server/relay/admission.ts",
    "this.#places.set(cluster, placeMs);",
    "",
  ]),
];
