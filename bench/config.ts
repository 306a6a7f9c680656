import * as z from "zod";
import { type ConfigOf, defineOptions } from "../common/runtime/config.ts";
import { booleanSwitch } from "../common/runtime/settings.ts";

export const PARTS = ["relay", "slow", "restart", "end-to-end", "sidecar"] as const;
export type Part = (typeof PARTS)[number];

const count = (most: number) => z.coerce.number().int("must be a whole number").min(1).max(most);

/** Settings of the bench. */
export const benchOptions = defineOptions({
  agents: {
    path: "agents",
    argument: "N",
    repeated: true,
    help: "agents connected to the relay; may be given several times; without it 100, 1000, 5000 and 10000, with --quick 20",
    schema: z.array(count(20_000)).default([]),
  },
  fileAgents: {
    path: "fileAgents",
    argument: "N",
    help: "agents of the run from file to result; without it 100, with --quick 5",
    schema: count(2_000).optional(),
  },
  repetitions: {
    path: "repetitions",
    argument: "N",
    help: "how often everything is measured, ours and bare in turn; without it 3, with --quick 1",
    schema: count(100).optional(),
  },
  rounds: {
    path: "rounds",
    argument: "N",
    help: "pushes of a kind to all agents in one repetition; without it 40 for 100 agents down to 5 for 10000, with --quick 3",
    schema: count(1_000).optional(),
  },
  only: {
    path: "only",
    argument: "PART",
    repeated: true,
    help: `measure this part alone: ${PARTS.join(", ")}; may be given several times`,
    schema: z.array(z.enum(PARTS)).default([]),
  },
  quick: { path: "quick", help: "tiny numbers, to see that it works", schema: booleanSwitch.default(false) },
  json: { path: "json", help: "print JSON instead of the table", schema: booleanSwitch.default(false) },
  out: { path: "out", argument: "FILE", help: "write the JSON to this file too", schema: z.string().min(1).optional() },
  cpuProf: {
    path: "cpuProf",
    argument: "DIR",
    help: "write CPU profiles of the relay's server processes there; they slow down what is measured",
    schema: z.string().min(1).optional(),
  },
});

export type BenchConfig = ConfigOf<typeof benchOptions>;

/** How much is measured. */
export interface BenchSettings {
  /** Sizes of the fleets, one after the other. */
  readonly agents: readonly number[];
  readonly fileAgents: number;
  readonly repetitions: number;
  /** Without it as many as make about ten thousand messages. */
  readonly rounds?: number;
  readonly parts: readonly Part[];
  /** Memory is looked at after so long without work: V8 gives pages back some seconds after it needed them last. */
  readonly restMs: number;
  readonly restart: RestartSettings;
  readonly slow: SlowSettings;
  readonly cpuProf?: string;
}

export interface RestartSettings {
  readonly agents: number;
  /** For how long no server is there. */
  readonly outageMs: number;
}

export interface SlowSettings {
  readonly agents: number;
  /** So many of them do not read. */
  readonly slow: number;
  /** Pushes after which memory is looked at, and after which it is looked at again. */
  readonly pushes: readonly [number, number];
}

const FULL = {
  agents: [100, 1_000, 5_000, 10_000],
  fileAgents: 100,
  repetitions: 3,
  restMs: 10_000,
  restart: { agents: 1_000, outageMs: 20_000 },
  slow: { agents: 100, slow: 10, pushes: [100, 300] },
} as const;

const QUICK = {
  agents: [20],
  fileAgents: 5,
  repetitions: 1,
  rounds: 3,
  restMs: 0,
  restart: { agents: 20, outageMs: 500 },
  slow: { agents: 20, slow: 4, pushes: [10, 30] },
} as const;

export function settingsOf(config: BenchConfig): BenchSettings {
  const { agents, rounds, fileAgents, repetitions, cpuProf } = config;
  const defaults = config.quick ? QUICK : FULL;
  return {
    ...defaults,
    parts: config.only.length > 0 ? config.only : PARTS,
    ...(agents.length > 0 && { agents }),
    ...(fileAgents !== undefined && { fileAgents }),
    ...(repetitions !== undefined && { repetitions }),
    ...(rounds !== undefined && { rounds }),
    ...(cpuProf !== undefined && { cpuProf }),
  };
}
