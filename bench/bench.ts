import { temporaryFolder } from "../test/harness/folder.ts";
import type { BenchSettings, Part } from "./config.ts";
import { measureEndToEnd } from "./end-to-end/end-to-end.ts";
import type { Figure } from "./figures.ts";
import { measureRelay } from "./relay/relay.ts";
import { measureRestart } from "./relay/restart.ts";
import { measureSlow } from "./relay/slow.ts";
import { measureSidecar } from "./sidecar/sidecar.ts";

/** What every part of the bench gets beside its settings. */
export interface BenchContext {
  /** Aborted when the user has had enough. */
  readonly signal: AbortSignal;
  /** Says what is being done, for people. */
  readonly progress: (text: string) => void;
}

/** A folder for a part's keys and files. */
export interface Workplace extends BenchContext {
  readonly file: (...names: string[]) => string;
}

const MEASURES: Readonly<Record<Part, (settings: BenchSettings, workplace: Workplace) => Promise<readonly Figure[]>>> =
  {
    relay: measureRelay,
    slow: measureSlow,
    restart: measureRestart,
    "end-to-end": measureEndToEnd,
    sidecar: measureSidecar,
  };

/** Measures the parts one after the other; nothing of theirs is left when it returns or throws. */
export async function measure(settings: BenchSettings, context: BenchContext): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const part of settings.parts) {
    await using folder = await temporaryFolder();
    figures.push(...(await MEASURES[part](settings, { ...context, file: (...names) => folder.file(...names) })));
  }
  return figures;
}
