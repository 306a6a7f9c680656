import * as z from "zod";
import { defineOptions } from "../../common/runtime/config.ts";
import { booleanSwitch, dnsLabel } from "../../common/runtime/settings.ts";
import { DEFAULT_FLEET } from "./plan.ts";
import { STAGES } from "./stages.ts";

const fleet = {
  path: "fleet",
  argument: "NAME",
  help: "which clusters: several fleets can be up, each with a network of its own",
  schema: dnsLabel.default(DEFAULT_FLEET),
} as const;

/** Settings of `up`. */
export const upOptions = defineOptions({
  fleet,
  until: {
    path: "until",
    argument: "STAGE",
    help: `how far: ${STAGES.join(", ")}`,
    schema: z.enum(STAGES).default("bookinfo"),
  },
  clusters: {
    path: "clusters",
    argument: "N",
    help: "how many clusters, at most 4",
    schema: z.coerce.number().int("must be a whole number").min(1).max(4).default(2),
  },
});

/** Settings of `down`. */
export const downOptions = defineOptions({
  fleet,
  all: {
    path: "all",
    help: "take down all fleets, and what killed runs have left",
    schema: booleanSwitch.default(false),
  },
});

/** Settings of what works on clusters that are up. */
export const fleetOptions = defineOptions({ fleet });
