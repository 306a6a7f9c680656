import * as z from "zod";
import type { IssuedCertificate } from "../../common/api/certificates.ts";
import { nameOf } from "../../common/api/meta.ts";
import type { Problem } from "../../common/api/problem.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { StateCell } from "../../common/runtime/state-cell.ts";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import { keyOf, type WireResource } from "../../common/session/resource-set.ts";
import type { IntentBook } from "../relay/intent-book.ts";
import type { SourceFault } from "../store/source-directory.ts";
import { removalsBetween, translate } from "../translate/translate.ts";
import { toWireResource } from "../translate/wire.ts";
import { foldLastGood } from "./last-good.ts";
import { logJudgements } from "./report.ts";
import type { SourcedIntent } from "./snapshot.ts";
import { validate } from "./validate.ts";
import type { AcceptedIntent, Verdict } from "./verdict.ts";

/** The outcome of one pass over the sources. */
export interface Reconciled {
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** What is in force, by VirtualMesh. */
  readonly inForce: ReadonlyMap<string, AcceptedIntent>;
  /** What was refused before it could be judged. */
  readonly problems: readonly Problem[];
  /** What could not be read at all. */
  readonly faults: readonly SourceFault[];
}

const stored = z.object({
  inForce: z.record(
    z.string(),
    z.custom<AcceptedIntent>((value) => typeof value === "object" && value !== null),
  ),
  /** Removals that agents have not acknowledged, by cluster. */
  removals: z.record(z.string(), z.array(z.string())),
});

export interface ReconcilerOptions {
  readonly directory: Pick<StateDirectory, "document">;
  readonly intents: IntentBook;
  readonly log: Log;
}

/** Turns what people wrote into what each cluster shall hold. What was good last stays in force over restarts. */
export class Reconciler {
  /** Set once the sources were read and judged. */
  readonly reconciled = new Latest<Reconciled>();
  readonly #options: ReconcilerOptions;
  readonly #cell: StateCell<z.output<typeof stored>>;

  private constructor(options: ReconcilerOptions, cell: StateCell<z.output<typeof stored>>) {
    this.#options = options;
    this.#cell = cell;
  }

  /** Puts the stored intent in force, before any source was read. Throws `state_corrupt`. */
  static async open(options: ReconcilerOptions): Promise<Reconciler> {
    const document = options.directory.document("intent", stored);
    const cell = await StateCell.open(document, { inForce: {}, removals: {} });
    const { inForce, removals } = cell.value;
    const certificates = translate(Object.values(inForce));
    // A cluster whose last mesh was taken out has nothing but removals.
    for (const cluster of new Set([...certificates.keys(), ...Object.keys(removals)])) {
      options.intents.set(cluster, toResources(certificates.get(cluster) ?? []), removalsOf(removals, cluster));
    }
    return new Reconciler(options, cell);
  }

  /** Follows the sources until `signal` is aborted. */
  async run(intents: Latest<SourcedIntent>, signal: AbortSignal): Promise<void> {
    for await (const intent of intents.watch(signal)) await this.reconcile(intent);
  }

  /** One pass: the decision is stored before any agent hears of it. */
  async reconcile({ snapshot, faults }: SourcedIntent): Promise<void> {
    const previous = new Map(Object.entries(this.#cell.value.inForce));
    const verdicts = validate(snapshot, previous);
    const inForce = foldLastGood(previous, verdicts);
    const before = translate(previous.values());
    const after = translate(inForce.values());
    const removed = removalsBetween(before, after);
    await this.#cell.update(({ removals }) => ({
      inForce: Object.fromEntries(inForce),
      removals: withRemovals(removals, removed, after),
    }));
    for (const cluster of new Set([...before.keys(), ...after.keys()])) {
      this.#options.intents.set(cluster, toResources(after.get(cluster) ?? []), removed.get(cluster)?.map(keyOf));
    }
    logJudgements(this.#options.log, { verdicts, problems: snapshot.problems });
    this.reconciled.set({ verdicts, inForce, problems: snapshot.problems, faults });
  }

  /** Forgets removals that a cluster's agent has acknowledged. */
  async forgetAcknowledged(cluster: string): Promise<void> {
    const pending = [...this.#options.intents.get(cluster).removals];
    await this.#cell.update((value) =>
      removalsOf(value.removals, cluster).length === pending.length
        ? value
        : { ...value, removals: { ...value.removals, [cluster]: pending } },
    );
  }
}

function toResources(certificates: readonly IssuedCertificate[]): Map<string, WireResource> {
  return new Map(certificates.map(toWireResource).map((resource) => [keyOf(resource.name), resource]));
}

/** What waits for one cluster. Names of clusters are free: "constructor" is one, and every object has it. */
const removalsOf = (removals: Readonly<Record<string, readonly string[]>>, cluster: string): readonly string[] =>
  Object.hasOwn(removals, cluster) ? (removals[cluster] ?? []) : [];

/** The removals that wait, with the new ones, and without what is wanted again. */
function withRemovals(
  pending: Readonly<Record<string, readonly string[]>>,
  removed: ReturnType<typeof removalsBetween>,
  wanted: ReturnType<typeof translate>,
): Record<string, string[]> {
  const clusters = new Set([...Object.keys(pending), ...removed.keys()]);
  return Object.fromEntries(
    [...clusters].map((cluster) => {
      const kept = new Set((wanted.get(cluster) ?? []).map((certificate) => keyOf(nameOf(certificate))));
      const keys = new Set([...removalsOf(pending, cluster), ...(removed.get(cluster) ?? []).map(keyOf)]);
      return [cluster, [...keys].filter((key) => !kept.has(key))];
    }),
  );
}
