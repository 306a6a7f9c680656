import { MeshError } from "../../common/runtime/errors.ts";
import type { Step } from "./steps.ts";

/** Which steps of the documents to run. */
export interface Selection {
  readonly from?: string | undefined;
  readonly until?: string | undefined;
  readonly tab: string;
}

/** What cannot be had where the walk is, and what stands in for it. */
export interface Substitutes {
  /** Path of a manifest in place of Vault's Helm chart. */
  readonly vaultManifest?: string | undefined;
}

/** A step as it is run. */
export interface PlannedStep extends Step {
  readonly path: string;
  /** Why the text is another than the document's. */
  readonly instead?: string;
}

/** The steps to run, in order. Throws `invalid_argument` for a name that no step has, with those that there are. */
export function planWalk(
  steps: readonly (Step & { readonly path: string })[],
  { from, until, tab }: Selection,
  substitutes: Substitutes,
): PlannedStep[] {
  const all = steps.filter((step) => !step.isGiven && (step.tab ?? tab) === tab);
  const names = all.map(({ name }) => name);
  const indexOf = (name: string | undefined, otherwise: number): number => {
    const index = name === undefined ? otherwise : names.indexOf(name);
    if (index >= 0) return index;
    throw new MeshError("invalid_argument", `there is no step ${name ?? ""}`, {
      hint: `there are ${names.join(", ")}`,
    });
  };
  const [first, last] = [indexOf(from, 0), indexOf(until, all.length - 1)];
  return all.slice(first, last + 1).flatMap((step) => withSubstitutes(step, substitutes));
}

/** The chart's line of the guide, whatever its flags. */
const CHART = /^ *helm install .* hashicorp\/vault .*$/m;

function withSubstitutes(step: PlannedStep, { vaultManifest }: Substitutes): PlannedStep[] {
  if (vaultManifest === undefined) return [step];
  if (/^helm repo add hashicorp /.test(step.text)) return [];
  if (!CHART.test(step.text)) return [step];
  const apply = `  kubectl --context="\${cluster}" apply --server-side --force-conflicts -f '${vaultManifest}'`;
  const instead = "Vault by a manifest instead of its Helm chart, which lies on the Internet";
  return [{ ...step, text: step.text.replace(CHART, apply), instead }];
}
