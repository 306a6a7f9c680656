import type { Setting } from "./setting.ts";
import { clusterTable, notes } from "./tables.ts";
import { type ClusterView, isIssued, isSettled, type MeshView, viewOf } from "./view.ts";
import { describeFault } from "./log-lines.ts";

/** Says what changes, and prints the table anew once nothing is under way, until `signal` is aborted. */
export async function watchEdits({ status, output }: Setting, signal: AbortSignal): Promise<void> {
  let shown: MeshView | undefined;
  let tableOf = "";
  for await (const response of status.watch(signal)) {
    const view = viewOf(response);
    if (!view) continue;
    if (shown) for (const line of changes(shown, view)) output.line(`${time()}  ${line}`);
    const content = tableContent(view);
    if (shown && isSettled(view) && content !== tableOf) {
      output.section("Certificates", [clusterTable(view, output.stream), "", ...notes(view)]);
    }
    if (isSettled(view)) tableOf = content;
    shown = view;
  }
}

const time = (): string => new Date().toISOString().slice(11, 19);

/** What makes a table worth printing again. */
function tableContent({ state, errors, clusters }: MeshView): string {
  return JSON.stringify([state, errors, clusters.map(({ serial, fault }) => [serial, fault])]);
}

function changes(before: MeshView, after: MeshView): string[] {
  const judged = before.generation !== after.generation || before.state !== after.state;
  return [
    ...(judged ? [`virtual-mesh.yaml: ${after.state}, generation ${after.generation}`] : []),
    ...after.clusters.flatMap((cluster, index) => clusterChanges(before.clusters[index], cluster)),
  ];
}

function clusterChanges(before: ClusterView | undefined, after: ClusterView): string[] {
  const { cluster, connected, applied, state, serial, fault } = after;
  const changed = before?.state !== state || before.serial !== serial;
  return [
    ...(before && before.connected !== connected ? [`${cluster}: ${connected ? "connected" : "not connected"}`] : []),
    ...(before && !before.applied && applied ? [`${cluster}: intent delivered`] : []),
    ...(changed ? [`${cluster}: ${state}${isIssued(after) ? ` serial ${serial}` : ""}`] : []),
    ...(fault && fault.message !== before?.fault?.message ? [`${cluster}: ${describeFault(fault)}`] : []),
  ];
}
