import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import { planAddresses } from "../../demo/ports.ts";
import { enterReaped, leaveReaped } from "./reaper.ts";
import { eventually } from "./wait.ts";

const MAIN = fileURLToPath(new URL("../../demo/main.ts", import.meta.url));
/** Generous: the machine may be building at the same time. */
const DEADLINE_MS = 150_000;

const document = z.object({
  converged: z.boolean(),
  workDirectory: z.string(),
  secretDirectory: z.string(),
  steps: z.array(z.object({ step: z.string(), cluster: z.string().optional(), tookMs: z.number() })),
  processes: z.array(z.object({ name: z.string(), pid: z.number(), listeners: z.record(z.string(), z.string()) })),
  clusters: z
    .array(
      z.object({
        cluster: z.string(),
        state: z.string(),
        serial: z.string(),
        rootSha256: z.string(),
        notAfter: z.string(),
        directory: z.string(),
      }),
    )
    .default([]),
  checks: z.array(z.object({ name: z.string(), passed: z.boolean(), detail: z.string() })).default([]),
  commands: z.array(z.string()).default([]),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
});

/** What the demo prints with --json. */
export type DemoDocument = z.output<typeof document>;

/** A running demo. Disposing kills it if it still runs. */
export interface RunningDemo extends AsyncDisposable {
  readonly pid: number;
  /** The document, once it is printed. */
  readonly document: () => Promise<DemoDocument>;
  /** What it has told so far. */
  readonly told: () => string;
  /** Waits until it has told what `pattern` matches. */
  readonly tells: (pattern: RegExp) => Promise<RegExpExecArray>;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
}

/** Runs `npm run demo -- --json` with these flags, but without building: `npm test` has done that. */
export async function startDemo(...flags: readonly string[]): Promise<RunningDemo> {
  const child = spawn(process.execPath, [MAIN, "--json", ...flags], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals | null);
  await once(child, "spawn");
  const pid = child.pid ?? 0;
  await enterReaped("group", pid);
  void ended.then(() => leaveReaped("group", pid));
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const wait = { timeoutMs: DEADLINE_MS };
  return {
    pid,
    ended,
    told: () => stderr,
    document: () => eventually("document of the demo", async () => document.parse(JSON.parse(stdout)), wait),
    tells: (pattern) => eventually(`demo tells ${pattern.source}`, async () => pattern.exec(stderr) ?? false, wait),
    kill: (signal) => void child.kill(signal),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** A --port-offset with which all fixed ports are free. */
export async function freePortOffset(clusters = 2): Promise<number> {
  return eventually("free port offset", async () => {
    const offset = 1_000 + Math.floor(Math.random() * 4_000);
    await planAddresses(clusters, offset);
    return offset;
  });
}
