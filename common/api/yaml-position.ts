import { isAlias, isMap, isScalar, isSeq, type Document, type LineCounter } from "yaml";
import type { Path, Position } from "./problem.ts";

/** Place of the deepest part of `path` that the document has: of a field its name, of a list item its start. */
export function positionOf(source: { document: Document.Parsed; lines: LineCounter }, path: Path): Position {
  let node: unknown = source.document.contents;
  let offset = startOf(node) ?? source.document.range[0];
  for (const step of path) {
    const found = childOf(isAlias(node) ? node.resolve(source.document) : node, step);
    if (!found) break;
    offset = startOf(found.key) ?? offset;
    node = found.value;
  }
  const { line, col } = source.lines.linePos(offset);
  return { line, column: col };
}

function childOf(node: unknown, step: string | number): { key: unknown; value: unknown } | undefined {
  if (isMap(node)) {
    return node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
  }
  const item = isSeq(node) ? node.items[Number(step)] : undefined;
  return item === undefined ? undefined : { key: item, value: item };
}

function startOf(node: unknown): number | undefined {
  const { range } = (node ?? {}) as { range?: readonly number[] | null };
  return range?.[0];
}
