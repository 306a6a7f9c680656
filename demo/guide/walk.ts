import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { systemClock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import type { GuideConfig } from "./config.ts";
import { findGround, type Ground } from "./ground.ts";
import { HINTS } from "./hints.ts";
import { GuideOutput } from "./output.ts";
import { planWalk, type PlannedStep } from "./plan.ts";
import { runShell, type ShellOutcome } from "./shell.ts";
import { parseSteps, type Step } from "./steps.ts";
import { prepareWorkplace, type Workplace } from "./workplace.ts";

/** The documents in the order in which they are walked. */
export const DOCUMENTS = ["docs/install.md", "docs/guide.md"] as const;

const REPOSITORY = join(import.meta.dirname, "../..");

/** What a step took. */
export interface StepTime {
  readonly step: string;
  readonly tookMs: number;
}

/** Every step of the documents, in order. */
export async function readSteps(): Promise<(Step & { readonly path: string })[]> {
  const all = DOCUMENTS.map(async (path) =>
    parseSteps(await readFile(join(REPOSITORY, path), "utf8"), path).map((step) => ({ ...step, path })),
  );
  return (await Promise.all(all)).flat();
}

/** Walks through the documents. Throws at the first step that does not end as it says, with a hint and how to go on. */
export async function walkGuide(config: GuideConfig, signal: AbortSignal): Promise<readonly StepTime[]> {
  const output = new GuideOutput(config.json);
  if (config.list) {
    const steps = planWalk(await readSteps(), config, {});
    for (const { name, section, path, line } of steps) output.line(`${name.padEnd(18)}${section} (${path}:${line})`);
    return [];
  }
  if (!config.yes && !process.stdin.isTTY) {
    throw new MeshError("config_invalid", "nobody is there to be asked before each step", { hint: "give --yes" });
  }
  const ground = await findGround(config);
  const steps = planWalk(await readSteps(), config, ground);
  const place = await prepareWorkplace(config.workDir, ground, config.from === undefined);
  output.line(`on ${ground.title}; files lie in ${place.directory}`);
  const times: StepTime[] = [];
  for (const [index, step] of steps.entries()) {
    output.step(step, { number: index + 1, count: steps.length });
    if (!config.yes) await askToGoOn(output, signal);
    const startMs = performance.now();
    if (step.name === "address") await giveAddress(place, ground, output, signal);
    await runStep({ step, place, config, output }, signal);
    const tookMs = performance.now() - startMs;
    output.outcome(`${step.name} done`, tookMs);
    times.push({ step: step.name, tookMs });
  }
  return times;
}

async function askToGoOn(output: GuideOutput, signal: AbortSignal): Promise<void> {
  const terminal = createInterface({ input: process.stdin, output: output.stream });
  try {
    await terminal.question("    Enter runs it, Ctrl-C ends the walk ", { signal });
  } catch (thrown) {
    signal.throwIfAborted();
    throw new MeshError("canceled", "the walk was ended", { cause: thrown });
  } finally {
    terminal.close();
  }
}

interface Running {
  readonly step: PlannedStep;
  readonly place: Workplace;
  readonly config: GuideConfig;
  readonly output: GuideOutput;
}

async function runStep({ step, place, config, output }: Running, signal: AbortSignal): Promise<void> {
  if (step.file !== undefined) return writeFileAtomic(join(place.directory, step.file), step.text, 0o644);
  let held: string[] = [];
  // Of attempts that are made again, the last one's output is enough.
  const onLine = (line: string): void => (step.withinMs > 0 ? void held.push(line) : output.said(line));
  const shell = { text: step.text, timeoutMs: config.stepTimeoutMs, onLine };
  const deadline = systemClock.now() + step.withinMs;
  let fault: string | undefined;
  for (;;) {
    fault = faultOf(step, await runShell(place, shell, signal), config.stepTimeoutMs);
    const isOver = fault === undefined || systemClock.now() >= deadline;
    if (isOver) for (const line of held) output.said(line);
    if (fault === undefined) return;
    if (isOver) break;
    output.line("    not yet; once more in 3 s");
    held = [];
    await systemClock.sleep(3000, signal);
  }
  const again = `mend it and go on with --from ${step.name}`;
  throw new MeshError("failed_precondition", `step ${step.name} (${step.path}:${step.line}) ${fault}`, {
    hint: [HINTS[step.name], again].filter(Boolean).join("; "),
  });
}

/** Pure: why the step did not end as it says; undefined when it did. */
export function faultOf(
  { isSilent }: Pick<Step, "isSilent">,
  { code, stdout, timedOut }: ShellOutcome,
  timeoutMs: number,
): string | undefined {
  if (timedOut) return `did not end within ${timeoutMs / 1000} s`;
  if (code !== 0) return `ended with ${code ?? "a signal"}`;
  return isSilent && stdout !== "" ? "should print nothing, and printed what stands above" : undefined;
}

/** Does what a load balancer of a cloud would do, where there is none. */
async function giveAddress(
  place: Workplace,
  { loadBalancer, contexts }: Ground,
  output: GuideOutput,
  signal: AbortSignal,
): Promise<void> {
  if (loadBalancer === undefined) return;
  const patch = JSON.stringify({ status: { loadBalancer: { ingress: [{ ip: loadBalancer }] } } });
  const where = `--context='${contexts[0]}' -n gloo-mesh --subresource=status --type=merge`;
  const text = `kubectl patch service enterprise-networking ${where} -p '${patch}'`;
  output.line(`        there is no load balancer here: the Service gets ${loadBalancer}`);
  const { code } = await runShell(place, { text, timeoutMs: 30_000, onLine: (line) => output.said(line) }, signal);
  if (code === 0) return;
  throw new MeshError("failed_precondition", `the Service cannot be given the address ${loadBalancer}`);
}
