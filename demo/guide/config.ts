import * as z from "zod";
import { type ConfigOf, defineOptions } from "../../common/runtime/config.ts";
import { booleanSwitch, dnsLabel, durationMs } from "../../common/runtime/settings.ts";

const text = z.string().min(1);

/** Settings of the guide's walk. */
export const guideOptions = defineOptions({
  fleet: {
    path: "fleet",
    argument: "NAME",
    help: "walk on these clusters of npm run clusters:up, where no contexts are given",
    schema: dnsLabel.default("default"),
  },
  context1: {
    path: "context.1",
    argument: "NAME",
    help: "walk on clusters of yours: context of the first one, which is the management cluster",
    schema: text.optional(),
  },
  context2: {
    path: "context.2",
    argument: "NAME",
    help: "context of the second one",
    schema: text.optional(),
  },
  kubeconfig: {
    path: "kubeconfig",
    argument: "FILE",
    env: "KUBECONFIG",
    help: "kubeconfig with these contexts; without it ~/.kube/config",
    schema: text.optional(),
  },
  yes: { path: "yes", help: "do not ask before each step", schema: booleanSwitch.default(false) },
  list: { path: "list", help: "list the steps, and run none", schema: booleanSwitch.default(false) },
  from: { path: "from", argument: "STEP", help: "begin with this step", schema: text.optional() },
  until: { path: "until", argument: "STEP", help: "end after this step", schema: text.optional() },
  tab: {
    path: "tab",
    argument: "NAME",
    help: "how istiod is changed: standard is istioctl, kind is kubectl patch",
    schema: z.enum(["standard", "kind"]).default("standard"),
  },
  workDir: {
    path: "workDir",
    argument: "DIR",
    help: "where the walk keeps its files and variables, Vault's root key too; mode 0700",
    schema: text.default(".cache/guide"),
  },
  stepTimeoutMs: {
    path: "stepTimeout",
    argument: "DURATION",
    help: "how long one step may take",
    schema: durationMs.prefault("10m"),
  },
  vaultManifest: {
    path: "vaultManifest",
    argument: "FILE",
    help: "install Vault with this manifest instead of its Helm chart, where that cannot be reached",
    schema: text.optional(),
  },
  loadBalancer: {
    path: "loadBalancer",
    argument: "ADDRESS",
    help: "give the server's Service this address, where no load balancer does that",
    schema: text.optional(),
  },
  istioSet: {
    path: "istioSet",
    argument: "KEY=VALUE",
    repeated: true,
    help: "set this too whenever istioctl installs, such as hub and tag; may be given several times",
    schema: z.array(z.string().regex(/^[^=]+=/, "must be key=value")).default([]),
  },
  figure: {
    path: "figure",
    help: "walk no step, and measure where the guide was walked: change the VirtualMesh until both istiods are proved to sign",
    schema: booleanSwitch.default(false),
  },
  json: {
    path: "json",
    help: "print the times as one JSON document on standard output; progress goes to standard error",
    schema: booleanSwitch.default(false),
  },
});

/** The settings as read. */
export type GuideConfig = ConfigOf<typeof guideOptions>;

/** Contexts come in pairs, and one cluster is no two. */
export function guideFaults({ context1, context2 }: GuideConfig): string[] {
  if ((context1 === undefined) !== (context2 === undefined)) return ["context.1 and context.2: give both, or neither"];
  return context1 !== undefined && context1 === context2
    ? ["context.1 and context.2: the guide needs two clusters"]
    : [];
}
