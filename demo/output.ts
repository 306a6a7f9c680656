import { styleText } from "node:util";
import type { Mark } from "./progress.ts";

/** Where the demo writes: its report to standard output, or with --json to standard error, and there the document. */
export interface Output {
  readonly stream: NodeJS.WriteStream;
  line(text?: string): void;
  /** A heading with lines below it. */
  section(title: string, lines: readonly string[]): void;
  mark(mark: Mark): void;
  /** Prints the one JSON document, where that is wanted. */
  document(value: object): void;
}

/** `json`: standard output is for the document alone. */
export function createOutput(json: boolean): Output {
  const stream = json ? process.stderr : process.stdout;
  const line = (text = ""): void => void stream.write(`${text}\n`);
  return {
    stream,
    line,
    section: (title, lines) => line([`\n${styleText("bold", title, { stream })}`, ...lines, ""].join("\n")),
    mark: (mark) => line(formatMark(mark)),
    document: (value) => {
      if (json) process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
    },
  };
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

function formatMark({ atMs, tookMs, cluster = "", step, detail = "" }: Mark): string {
  const head = `${seconds(atMs).padStart(9)}  ${cluster.padEnd(10)}  ${step.padEnd(23)}  ${seconds(tookMs).padStart(8)}`;
  return `${head}  ${detail}`.trimEnd();
}
