import { styleText } from "node:util";
import { printableLine } from "./printable.ts";

/** Text of a cell, with the style it has on a terminal. */
export interface StyledCell {
  readonly text: string;
  readonly style: Parameters<typeof styleText>[0];
}

export type Cell = string | StyledCell;

const GAP = "  ";

/**
 * Aligned columns below their titles, without a final newline. Styles are left out where `stream` is no terminal that
 * shows them. Control characters in the texts are dropped: what other programs sent must not drive the terminal.
 */
export function formatTable(
  titles: readonly string[],
  rows: readonly (readonly Cell[])[],
  stream: NodeJS.WritableStream = process.stdout,
): string {
  const all = [titles, ...rows.map((row) => row.map(textOf))];
  const widths = titles.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly Cell[]): string =>
    cells
      .map((cell, column) => {
        const text = textOf(cell);
        const styled = typeof cell === "string" ? text : styleText(cell.style, text, { stream });
        // The last column is not padded: no line ends in blanks.
        return column === cells.length - 1 ? styled : styled + " ".repeat((widths[column] ?? 0) - text.length);
      })
      .join(GAP)
      .trimEnd();
  return [line(titles.map((text) => ({ text, style: "bold" }))), ...rows.map(line)].join("\n");
}

const textOf = (cell: Cell): string => printableLine(typeof cell === "string" ? cell : cell.text);
