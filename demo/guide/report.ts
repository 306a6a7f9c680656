import { homedir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../common/runtime/clock.ts";
import { formatTable } from "../../common/runtime/table.ts";
import type { GuideConfig } from "./config.ts";
import { type ClusterFigure, ISTIOD_WINDOW_MS, measureChange } from "./figure.ts";
import { findGround } from "./ground.ts";
import { GuideOutput } from "./output.ts";

/** The first change has no effect of its own to measure against: programs and connections are warm afterwards. */
const CHANGES = 4;
const FIRST_TTL_DAYS = 40;

/** Measures several changes, and prints them. */
export async function runFigure(config: GuideConfig, signal: AbortSignal): Promise<readonly ClusterFigure[]> {
  const output = new GuideOutput(config.json);
  const { contexts, kubeconfig = join(homedir(), ".kube", "config"), title } = await findGround(config);
  output.line(`changing the VirtualMesh ${CHANGES} times on ${title}`);
  const figures: ClusterFigure[] = [];
  // Another life than that of an earlier measurement, whatever it was.
  const first = FIRST_TTL_DAYS + (Math.floor(systemClock.now() / 1000) % 300);
  for (let change = 0; change < CHANGES; change++) {
    const options = { kubeconfig, contexts, ttlDays: first + change, clock: systemClock };
    figures.push(...(await measureChange(options, signal)));
  }
  const titles = ["CLUSTER", "PROVED AFTER", "VAULT ITSELF", "ISTIOD'S WINDOW", "RATIO"];
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
  const rows = figures.map(({ context, provedMs, vaultMs, ratio }) => [
    ...[context, seconds(provedMs), seconds(vaultMs), seconds(ISTIOD_WINDOW_MS), ratio.toFixed(2)],
  ]);
  output.line(formatTable(titles, rows, output.stream));
  return figures;
}
