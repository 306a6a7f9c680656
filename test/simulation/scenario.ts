import type { Dice } from "./dice.ts";

/** What can go wrong, or right, at a moment of a schedule; how often it does where it is not said otherwise. */
const WEIGHTS = {
  edit: 6,
  remove: 2,
  "put back": 2,
  report: 3,
  release: 1,
  cut: 3,
  "go silent": 2,
  stall: 3,
  "black hole": 1,
  "kill server": 1.5,
  "stop server": 1,
  "empty server": 0.5,
  "kill agent": 1.5,
  "stop agent": 0.7,
  "slow disk": 1.5,
  "failing disk": 1,
  "failing API server": 1,
} as const;

export type Action = keyof typeof WEIGHTS;

/** Always part of it: without intent nothing happens. */
const ESSENTIAL: ReadonlySet<string> = new Set<Action>(["edit", "report"]);

/** What one seed makes of the world. */
export interface Scenario {
  readonly replicas: number;
  readonly clusters: readonly string[];
  readonly actions: number;
  /** Mean time between two actions. */
  readonly paceMs: number;
  readonly latencyMs: number;
  /** Most that intent takes to a replica. */
  readonly lagMs: number;
  /** Most that a request to an agent's disk takes, each way, where all is well. */
  readonly diskMs: number;
  readonly next: () => Action;
  /** Sessions that may begin per second at a replica; undefined for the product's own measure, which a few agents never meet. */
  readonly hellosPerSecond: number | undefined;
  /** With so many actions left somebody starts a second agent with the identity of the first; undefined for nobody. */
  readonly cloneAt: number | undefined;
}

/** More agents than places: in the end they all come at once. */
export const isHerd = (scenario: Scenario): boolean => scenario.hellosPerSecond !== undefined;

const HERD = 12;
/** One schedule of so many: a herd is as much work as many others. */
const HERD_EVERY = 40;
const CLONE_EVERY = 8;

/**
 * Each seed has other kinds of faults, few or many of them, so that none is always hidden by another. What is `rare` is
 * drawn apart from the rest, which stays as it is where that changes.
 */
export function drawScenario(dice: Dice, rare: Dice): Scenario {
  const replicas = dice.pick([1, 1, 2, 2]);
  const all = Object.entries(WEIGHTS) as [Action, number][];
  const chosen = all.map(([action, weight]) => {
    return [action, weight * (ESSENTIAL.has(action) ? dice.pick([0.5, 1]) : dice.pick([0, 0, 0.5, 1, 4]))] as const;
  });
  const hellosPerSecond = rare.between(1, HERD_EVERY) === 1 ? rare.pick([0.5, 1, 3]) : undefined;
  const total = chosen.reduce((sum, [, weight]) => sum + weight, 0);
  const clusters = ["east", "west", "north"].slice(0, dice.pick([1, 1, 2, 3]));
  const actions = dice.between(4, 40);
  const herd = Array.from({ length: HERD }, (_, index) => `herd-${index}`);
  const most = hellosPerSecond === undefined ? actions : Math.min(actions, 12);
  return {
    replicas,
    clusters: hellosPerSecond === undefined ? clusters : herd,
    actions: most,
    hellosPerSecond,
    cloneAt: rare.between(1, CLONE_EVERY) === 1 ? rare.between(1, most) : undefined,
    paceMs: dice.pick([50, 500, 3_000, 10_000]),
    latencyMs: dice.pick([1, 20, 300]),
    lagMs: replicas === 1 ? 0 : dice.pick([0, 50, 3_000]),
    diskMs: dice.pick([5, 300, 2_000]),
    next: () => {
      let left = dice.random() * total;
      for (const [action, weight] of chosen) if ((left -= weight) < 0) return action;
      return "edit";
    },
  };
}
