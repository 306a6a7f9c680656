import assert from "node:assert/strict";

/** Cells of every row of every table in a text, without the titles' line. */
export function rowsOf(markdown: string): string[][] {
  return markdown
    .split("\n")
    .filter((line) => line.startsWith("|") && !/^\| *-+/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    );
}

/** A cell without the marks of code. */
export const unquoted = (cell = ""): string => cell.replaceAll("`", "");

/** The text below a heading, up to the next one of the same or a higher level. */
export function section(markdown: string, heading: string): string {
  const level = heading.split(" ", 1)[0] ?? "";
  const start = markdown.indexOf(`\n${heading}\n`);
  assert.ok(start >= 0, `no section "${heading}"`);
  const rest = markdown.slice(start + heading.length + 2);
  const end = rest.search(new RegExp(`^#{1,${level.length}} `, "m"));
  return end < 0 ? rest : rest.slice(0, end);
}
