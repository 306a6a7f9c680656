import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "../common/runtime/config.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { Latest } from "../common/runtime/latest.ts";
import { silentLog } from "../common/runtime/log.ts";
import { ManualClock } from "../common/runtime/manual-clock.ts";
import { agentOptions } from "./config.ts";
import { NOTHING_HELD } from "./apply/apply-machine.ts";
import type { IdentityHome } from "./identity/home.ts";
import { Leader, type LeaderOptions } from "./leader.ts";

const FLAGS = { cluster: "cluster-1", serverAddress: "server:9900", kubernetesInCluster: true };

const untilAborted = (_: unknown, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));

function leaderWith(read: IdentityHome["document"]["read"], patient: boolean) {
  const clock = new ManualClock();
  const identity: IdentityHome = {
    ...{ place: "here", noToken: "no token", hint: "", patient },
    document: { read, write: () => Promise.resolve() },
    tokens: { read: () => Promise.resolve(undefined), remove: () => Promise.resolve() },
    roots: () => Promise.reject(new MeshError("failed_precondition", "no roots")),
  };
  const unused = (): Promise<never> => Promise.reject(new Error("not asked here"));
  const options: LeaderOptions = {
    config: readConfig(agentOptions, { flags: FLAGS, env: {} }),
    home: {
      identity,
      intent: {
        certificates: new Latest([]),
        load: async () => NOTHING_HELD,
        save: unused,
        guard: untilAborted,
      },
      leaderTasks: () => ({}),
    },
    report: { statuses: new Latest([]), podBounces: new Latest(new Map()), discovery: new Latest() },
    ...{ clock, random: () => 0.5, log: silentLog },
  };
  return { leader: new Leader(options), clock };
}

test("leader - a lease that is lost while it still reads what it leads with is no fault", async () => {
  const stop = new AbortController();
  const asked = Promise.withResolvers<undefined>();
  const { leader } = leaderWith(() => {
    asked.resolve(undefined);
    return Promise.reject(new MeshError("permission_denied", "no right to read"));
  }, true);
  const leading = leader.lead(stop.signal);
  await asked.promise;
  stop.abort(new MeshError("canceled", "lost"));
  await leading;
  assert.equal(leader.parts.value, null);
});

test("leader - a home that nobody mends while the agent runs ends it with its fault", async () => {
  const { leader } = leaderWith(() => Promise.reject(new MeshError("state_corrupt", "identity.json: broken")), false);
  await assert.rejects(leader.lead(new AbortController().signal), { code: "state_corrupt" });
});

test("leader - leads anew with another relay client: who leads again is not taken for one of two agents with one identity", async () => {
  const { leader } = leaderWith(() => Promise.resolve(undefined), true);
  const clients = new Set<unknown>();
  for (const _ of ["first term", "second term"]) {
    const stop = new AbortController();
    const leading = leader.lead(stop.signal);
    clients.add((await leader.parts.until((parts) => parts !== null, stop.signal))?.relay);
    stop.abort(new MeshError("canceled", "lost"));
    await leading;
  }
  assert.equal(clients.size, 2);
});
