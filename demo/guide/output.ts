import { styleText } from "node:util";
import { printableLine } from "../../common/runtime/printable.ts";
import type { PlannedStep } from "./plan.ts";

/** A command of more lines is cut: the document has it. */
const MAX_COMMAND_LINES = 30;

/** A line of output as well: openssl paints its search for a key. */
const MAX_OUTPUT_COLUMNS = 300;

/** Where the walk writes; with `json` standard output is for the document alone. */
export class GuideOutput {
  readonly stream: NodeJS.WriteStream;
  readonly #startMs = performance.now();

  constructor(json: boolean) {
    this.stream = json ? process.stderr : process.stdout;
  }

  line(text = ""): void {
    this.stream.write(`${text}\n`);
  }

  /** Its place, and what will be run. */
  step(step: PlannedStep, { number, count }: { readonly number: number; readonly count: number }): void {
    const { name, section, path, line, text, file, instead } = step;
    const title = styleText("bold", `${number}/${count}  ${name}`, { stream: this.stream });
    this.line(`\n${title}  ${section} (${path}:${line})`);
    if (instead !== undefined) this.line(`        ${instead}`);
    const lines = text.trimEnd().split("\n");
    const shown = lines.slice(0, MAX_COMMAND_LINES);
    const prompt = file === undefined ? "  $ " : `  ${file}: `;
    shown.forEach((each, index) => this.line(`${index === 0 ? prompt : " ".repeat(4)}${each}`));
    if (lines.length > shown.length) this.line(`    … and ${lines.length - shown.length} more lines`);
  }

  /** A line of the command's own output. */
  said(line: string): void {
    const text = printableLine(line);
    const shown = text.length > MAX_OUTPUT_COLUMNS ? `${text.slice(0, MAX_OUTPUT_COLUMNS)}…` : text;
    this.line(styleText("dim", `    | ${shown}`, { stream: this.stream }));
  }

  /** How the step ended, with the time of the walk and the step's own. */
  outcome(text: string, tookMs: number): void {
    const at = `${((performance.now() - this.#startMs) / 1000).toFixed(1)} s`;
    this.line(`${at.padStart(8)}  ${text}  ${(tookMs / 1000).toFixed(2)} s`);
  }
}
