/**
 * `main.ts SEED [COUNT]`: runs the schedules of so many seeds from the first one on, and prints what they came to; one
 * alone is printed with all that happened in it. Ends with code 1 at the first that ends as it must not. Beside the test
 * runner, which follows every promise: there the schedules take twice the time, and more with each.
 */
import { runSchedule, Violation } from "./schedule.ts";
import { runSchedules } from "./schedules.ts";

const [first = 1, count = 1] = process.argv.slice(2).map(Number);

async function main(): Promise<string> {
  if (count === 1) return (await runSchedule(first, { isTraced: true })).trace.join("\n");
  return JSON.stringify(await runSchedules(Array.from({ length: count }, (_, index) => first + index)));
}

try {
  process.stdout.write(`${await main()}\n`);
} catch (error) {
  const trace = error instanceof Violation ? error.trace : [];
  process.stderr.write([...trace, error instanceof Error ? error.message : String(error), ""].join("\n"));
  process.exitCode = 1;
}
