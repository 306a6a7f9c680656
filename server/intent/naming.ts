import { clip } from "../../common/session/bounds.ts";

/** Conditions are read by people: of many of one kind they name the first few. */
const MAX_NAMED = 5;
/** A list of faults has so many. */
const MAX_LISTED = 20;
/** What others said is told in so many characters. */
const MAX_QUOTED = 160;

/** "a, b, c, d, e and 95 more". What is named twice is named once. */
export function someOf(names: Iterable<string>, separator = ", "): string {
  const all = [...new Set(names)];
  const rest = all.length - MAX_NAMED;
  const named = all
    .slice(0, MAX_NAMED)
    .map((name) => clip(name))
    .join(separator);
  return rest > 0 ? `${named} and ${rest} more` : named;
}

/** The first of many faults, and "and 95 more". */
export function firstOf(faults: readonly string[]): string[] {
  const rest = faults.length - MAX_LISTED;
  const listed = faults.slice(0, MAX_LISTED).map((fault) => clip(fault));
  return rest > 0 ? [...listed, `and ${rest} more`] : listed;
}

/** What an agent or Vault said, cut to what fits into a sentence. */
export const quoted = (text: string): string => (text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text);
