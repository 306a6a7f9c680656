import { MeshError } from "../common/runtime/errors.ts";
import { describeFault, type Fault } from "./log-lines.ts";
import type { Setting } from "./setting.ts";
import { viewOf } from "./view.ts";

/** Says which step each cluster lacks, and what the programs last complained of. */
export function shortfall({ config, progress, sites, programs, status }: Setting, cause: unknown): MeshError {
  const view = status.value && viewOf(status.value);
  const lacking = sites.map(({ cluster }) => {
    const reported = view?.clusters.find((one) => one.cluster === cluster.name)?.fault;
    const fault: Fault | undefined =
      reported ??
      ["sidecar", "init-container", "agent", "vault"]
        .map((program) => programs.faultOf(`${program} ${cluster.name}`))
        .find((each) => each !== undefined) ??
      programs.faultOf("server");
    const step = progress.missing(cluster.name) ?? "checks";
    return `${cluster.name} lacks "${step}"${fault ? `, last error ${describeFault(fault)}` : ""}`;
  });
  const refused = view?.errors.length ? `; the server says: ${view.errors.join("; ")}` : "";
  const message = `not converged within ${config.timeoutMs / 1000} s: ${lacking.join("; ")}${refused}`;
  return new MeshError("deadline_exceeded", message, { cause, hint: "give it more time with --timeout, e.g. 120s" });
}
