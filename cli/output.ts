import * as z from "zod";
import { defineOptions } from "../common/runtime/config.ts";
import { printable } from "../common/runtime/printable.ts";
import { booleanSwitch } from "../common/runtime/settings.ts";

export const outputOptions = defineOptions({
  json: { path: "json", schema: booleanSwitch.default(false), help: "print JSON for programs" },
});

/** A name that is checked by the server. */
export const nameSchema = z.string().min(1);

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A line for people beside the output that programs read. */
export function warn(text: string): void {
  process.stderr.write(printable(`${text}\n`));
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2));
}

/** "2026-06-01T12:00:00Z", or a dash. */
export const formatTime = (time: Date | undefined): string =>
  time === undefined ? "-" : time.toISOString().replace(/\.\d+Z$/, "Z");
