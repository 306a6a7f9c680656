import { availableParallelism, cpus, loadavg } from "node:os";
import { formatTable, type Cell } from "../common/runtime/table.ts";
import { VERSION } from "../common/runtime/version.ts";
import type { Figure, Goal, Sample } from "./figures.ts";
import type { BenchSettings } from "./config.ts";

/** What `--json` prints. */
export interface Report {
  readonly version: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly durationMs: number;
  readonly machine: Machine;
  readonly settings: BenchSettings;
  readonly figures: readonly Figure[];
}

/** What the figures depend on. */
export interface Machine {
  readonly node: string;
  readonly platform: string;
  readonly cpu: string;
  readonly cores: number;
  /** Load average of one minute when the run began and when it ended: others use the machine too. */
  readonly load: readonly [number, number];
}

/** Runs `measure` and puts the surroundings around its figures. */
export async function reportOf(settings: BenchSettings, measure: () => Promise<readonly Figure[]>): Promise<Report> {
  const startedAt = new Date();
  const [loadBefore = 0] = loadavg();
  const figures = await measure();
  const [loadAfter = 0] = loadavg();
  return {
    version: VERSION,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    machine: {
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      cpu: cpus()[0]?.model ?? "unknown",
      cores: availableParallelism(),
      load: [loadBefore, loadAfter],
    },
    settings,
    figures,
  };
}

const TITLES = [
  "figure",
  "agents",
  "unit",
  "ours (min..max)",
  "bare (min..max)",
  "ratio (min..max)",
  "goal",
  "verdict",
];

/** For a terminal. */
export function formatReport({ machine, settings, durationMs, figures }: Report): string {
  const { node, cpu, cores, load } = machine;
  const [before, after] = load.map((value) => value.toFixed(1));
  return [
    formatTable(TITLES, figures.map(rowOf)),
    "",
    `node ${node}, ${cores} cores of ${cpu}, load ${before ?? "?"} before and ${after ?? "?"} after`,
    `${settings.repetitions} repetitions, ${(durationMs / 1000).toFixed(0)} s in all`,
  ].join("\n");
}

function rowOf({ name, agents, unit, ours, bare, ratio, goal, met }: Figure): Cell[] {
  return [
    name,
    agents === undefined ? "-" : String(agents),
    unit,
    range(ours),
    range(bare),
    range(ratio, 2),
    goalText(goal, unit),
    verdict(met),
  ];
}

function range(sample: Sample | undefined, digits?: number): string {
  if (!sample) return "-";
  const places = digits ?? (sample.median < 10 ? 2 : sample.median < 100 ? 1 : 0);
  return `${sample.median.toFixed(places)} (${sample.min.toFixed(places)}..${sample.max.toFixed(places)})`;
}

const goalText = (goal: Goal | undefined, unit: string): string =>
  goal ? `<= ${goal.atMost} ${goal.of === "ratio" ? "x" : unit}` : "-";

function verdict(met: boolean | undefined): Cell {
  if (met === undefined) return "-";
  return met ? { text: "met", style: "green" } : { text: "MISSED", style: "red" };
}
