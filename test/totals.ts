/** An event of node's test runner, as far as it matters here. */
export interface RunnerEvent {
  readonly type: string;
  readonly data: object;
}

const COUNTS = ["tests", "suites", "pass", "fail", "cancelled", "skipped", "todo", "duration_ms"] as const;
const COUNT = new RegExp(`^(${COUNTS.join("|")}) ([\\d.]+)$`);

/** Adds up what several runs count at their ends, so that one report of all of them ends as that of a single one does. */
export class Totals {
  readonly #sums = new Map<string, number>(COUNTS.map((name) => [name, 0]));

  /** The events of a run but its closing counts, which are added to these. */
  async *without(run: AsyncIterable<RunnerEvent>): AsyncGenerator<RunnerEvent> {
    for await (const event of run) if (!this.#takes(event)) yield event;
  }

  /** True when a test of any run has failed or was cut off. */
  get failed(): boolean {
    return ["fail", "cancelled"].some((name) => (this.#sums.get(name) ?? 0) > 0);
  }

  /** The closing counts of all runs together. */
  *events(): Generator<RunnerEvent> {
    for (const [name, sum] of this.#sums) {
      yield { type: "test:diagnostic", data: { nesting: 0, message: `${name} ${sum}`, level: "info" } };
    }
  }

  #takes({ type, data }: RunnerEvent): boolean {
    const { message = "", file } = data as { message?: string; file?: string };
    // With a file it is of that file, and not of the run.
    if (file !== undefined) return false;
    if (type === "test:summary") return true;
    const [, name = "", count = ""] = (type === "test:diagnostic" ? COUNT.exec(message) : null) ?? [];
    if (name === "") return false;
    this.#sums.set(name, (this.#sums.get(name) ?? 0) + Number(count));
    return true;
  }
}
