import * as z from "zod";
import { type ConfigOf, defineOptions } from "../common/runtime/config.ts";
import { booleanSwitch } from "../common/runtime/settings.ts";

export const PARTS = ["relay", "end-to-end", "sidecar"] as const;
export type Part = (typeof PARTS)[number];

const count = (most: number) => z.coerce.number().int("must be a whole number").min(1).max(most).optional();

/** Settings of the bench. */
export const benchOptions = defineOptions({
  agents: {
    path: "agents",
    argument: "N",
    help: "agents connected to the relay; without it 1000, with --quick 20",
    schema: count(20_000),
  },
  fileAgents: {
    path: "fileAgents",
    argument: "N",
    help: "agents of the run from file to result; without it 100, with --quick 5",
    schema: count(2_000),
  },
  repetitions: {
    path: "repetitions",
    argument: "N",
    help: "how often everything is measured, ours and bare in turn; without it 3, with --quick 1",
    schema: count(100),
  },
  rounds: {
    path: "rounds",
    argument: "N",
    help: "pushes to all agents in one repetition; without it 10, with --quick 3",
    schema: count(1_000),
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
  readonly agents: number;
  readonly fileAgents: number;
  readonly repetitions: number;
  readonly rounds: number;
  readonly parts: readonly Part[];
  readonly cpuProf?: string;
}

const FULL = { agents: 1_000, fileAgents: 100, repetitions: 3, rounds: 10 };
const QUICK = { agents: 20, fileAgents: 5, repetitions: 1, rounds: 3 };

export function settingsOf(config: BenchConfig): BenchSettings {
  const defaults = config.quick ? QUICK : FULL;
  return {
    agents: config.agents ?? defaults.agents,
    fileAgents: config.fileAgents ?? defaults.fileAgents,
    repetitions: config.repetitions ?? defaults.repetitions,
    rounds: config.rounds ?? defaults.rounds,
    parts: config.only.length > 0 ? config.only : PARTS,
    ...(config.cpuProf === undefined ? {} : { cpuProf: config.cpuProf }),
  };
}
