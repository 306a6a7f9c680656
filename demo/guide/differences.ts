/** A line that one document has and the other has not: "-" is of the first, "+" of the second. */
export type Difference = `${"-" | "+"}${string}`;

/** Lines to take out of `before` and to put in for `after`, as few as there can be, in the order of the documents. */
export function differencesOf(before: readonly string[], after: readonly string[]): Difference[] {
  const common = lengthsOfCommon(before, after);
  const length = (i: number, j: number): number => common[i * (after.length + 1) + j] ?? 0;
  const found: Difference[] = [];
  for (let i = 0, j = 0; i < before.length || j < after.length;) {
    if (i < before.length && before[i] === after[j]) {
      i++;
      j++;
    } else if (j === after.length || (i < before.length && length(i + 1, j) >= length(i, j + 1))) {
      found.push(`-${before[i++] ?? ""}`);
    } else {
      found.push(`+${after[j++] ?? ""}`);
    }
  }
  return found;
}

/** By row: how many lines of the rest of both, from there on, can be kept. */
function lengthsOfCommon(before: readonly string[], after: readonly string[]): Uint32Array {
  const width = after.length + 1;
  const lengths = new Uint32Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      const at = i * width + j;
      lengths[at] =
        before[i] === after[j]
          ? (lengths[at + width + 1] ?? 0) + 1
          : Math.max(lengths[at + width] ?? 0, lengths[at + 1] ?? 0);
    }
  }
  return lengths;
}

/** A listed difference: a numbered section with its reason, and the lines that it speaks of. */
export interface Entry {
  readonly number: number;
  readonly title: string;
  readonly reason: string;
  readonly lines: readonly Difference[];
}

/** Reads `## 1. Title`, a reason, and blocks of `diff`. */
export function parseEntries(markdown: string): Entry[] {
  const sections = markdown.split(/^## (?=\d+\. )/m).slice(1);
  return sections.map((section) => {
    const [, number = "", title = ""] = /^(\d+)\. (.*)$/m.exec(section) ?? [];
    const blocks = [...section.matchAll(/^(`{3,})diff\n([^]*?)^\1$/gm)].map(([, , text = ""]) => text);
    const lines = blocks.flatMap((block) => block.split("\n").filter((line) => /^[-+]/.test(line)));
    const reason = section
      .replace(/^.*\n/, "")
      .replace(/^(`{3,})diff\n[^]*?^\1$/gm, "")
      .trim();
    return { number: Number(number), title, reason, lines: lines as Difference[] };
  });
}
