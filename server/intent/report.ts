import { refKey } from "../../common/api/meta.ts";
import type { Problem } from "../../common/api/problem.ts";
import type { Log } from "../../common/runtime/log.ts";
import { firstOf } from "./naming.ts";
import type { Verdict } from "./verdict.ts";

/** Logs what was refused, and each judgement; `before`: those that were logged already, which stay unsaid. */
export function logJudgements(
  log: Log,
  { verdicts, problems }: { readonly verdicts: ReadonlyMap<string, Verdict>; readonly problems: readonly Problem[] },
  before: ReadonlyMap<string, Verdict> = new Map(),
): void {
  for (const { file, line, path, message } of problems) {
    log.warn("resource refused", { file, line, path, reason: message });
  }
  for (const [key, { ref, state, generation, errors }] of verdicts) {
    const said = before.get(key);
    if (said?.state === state && said.generation === generation && said.errors.join() === errors.join()) continue;
    const fields = { virtualMesh: refKey(ref), state, generation };
    if (errors.length === 0) log.info("virtual mesh judged", fields);
    else log.warn("virtual mesh judged", { ...fields, errors: firstOf(errors) });
  }
}
