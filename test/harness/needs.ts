import { MeshError } from "../../common/runtime/errors.ts";
import { missingReason } from "../tools/build.ts";
import type { ToolName } from "../tools/registry.ts";

/**
 * For the `skip` option of a suite that needs the real programs named: false when they are there or can be built, else
 * the one line to skip with. With `CI=true` nothing may be skipped, so there it throws that line instead.
 *
 *     suite("real vault", { skip: skipWithout(vaultTools()) }, () => { … });
 */
export function skipWithout(names: readonly ToolName[]): string | false {
  const reason = missingReason(names);
  if (reason === undefined) return false;
  return skipBecause(`real servers: ${reason}`);
}

/** The same for any other thing that a machine may lack. */
export function skipBecause(reason: string): string {
  if (process.env["CI"] === "true")
    throw new MeshError("failed_precondition", `${reason}, and CI=true forbids to skip`);
  return reason;
}
