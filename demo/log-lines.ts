import * as z from "zod";

/** A fault as programs log it and as a status reports it. */
export interface Fault {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** One line of a program's log. */
export interface LogLine {
  /** When it was written, in milliseconds since the epoch. */
  readonly atMs: number;
  readonly message: string;
  readonly fault?: Fault | undefined;
}

const logLine = z.object({
  time: z.iso.datetime(),
  msg: z.string(),
  err: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }).optional(),
});

/** Reads a line of our own programs' logs; undefined for any other text. */
export function readLogLine(text: string): LogLine | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    const { time, msg, err } = logLine.parse(JSON.parse(text));
    return { atMs: Date.parse(time), message: msg, fault: err };
  } catch {
    return undefined;
  }
}

/** One line for people. */
export const describeFault = ({ code, message, hint }: Fault): string =>
  `${code}: ${message}${hint ? ` (hint: ${hint})` : ""}`;
