/** Conditions are read by people: of many of one kind they name the first few. */
const MAX_NAMED = 5;
/** What others said is told in so many characters. */
const MAX_QUOTED = 160;

/** "a, b, c, d, e and 95 more". What is named twice is named once. */
export function someOf(names: Iterable<string>, separator = ", "): string {
  const all = [...new Set(names)];
  const rest = all.length - MAX_NAMED;
  return rest > 0 ? `${all.slice(0, MAX_NAMED).join(separator)} and ${rest} more` : all.join(separator);
}

/** What an agent or Vault said, cut to what fits into a sentence. */
export const quoted = (text: string): string => (text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text);
