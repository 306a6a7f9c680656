import { printableLine } from "../common/runtime/printable.ts";
import { formatTable } from "../common/runtime/table.ts";
import type { CertificateDifference } from "./diff.ts";

const SIGNS = { added: "+", changed: "~", removed: "-", unknown: "?" } as const;

/** One table of fields for each certificate that differs. */
export function formatDifferences(cluster: string, all: readonly CertificateDifference[]): string {
  if (all.length === 0) return `cluster ${cluster} holds what it shall`;
  return all.map(paragraphOf).join("\n\n");
}

function paragraphOf({ name, change, heldVersion, wantedVersion, fields, remark }: CertificateDifference): string {
  const versions = `held ${short(heldVersion, change)}, wanted ${short(wantedVersion, "removed")}`;
  const head = printableLine(`${SIGNS[change]} ${name}: ${change}; ${versions}`);
  if (fields.length === 0) return remark === "" ? head : `${head}\n  ${printableLine(remark)}`;
  const rows = fields.map(({ field, held = "", wanted = "" }) => [field, held, wanted]);
  return `${head}\n${formatTable(["FIELD", "HELD", "WANTED"], rows)}`;
}

/** An unknown version is not one that is absent. */
function short(version: string, change: CertificateDifference["change"]): string {
  if (version !== "") return version.slice(0, 12);
  return change === "unknown" ? "unknown" : "none";
}
