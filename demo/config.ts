import * as z from "zod";
import { type ConfigOf, defineOptions } from "../common/runtime/config.ts";
import { booleanSwitch, durationMs } from "../common/runtime/settings.ts";

/** Each cluster takes a loopback address of its own. */
const MAX_CLUSTERS = 20;
/** The highest fixed port is 9977, and without further loopback addresses one more per cluster. */
const MAX_PORT_OFFSET = 65_535 - 9_977 - MAX_CLUSTERS;

const wholeNumber = (least: number, most: number) =>
  z.coerce
    .number()
    .int("must be a whole number")
    .min(least, `must be at least ${least}`)
    .max(most, `must be at most ${most}`);

/** Settings of the demo. */
export const demoOptions = defineOptions({
  once: {
    path: "once",
    help: "leave when converged: 0, or 1 with the reason when not within the timeout",
    schema: booleanSwitch.default(false),
  },
  timeoutMs: {
    path: "timeout",
    argument: "DURATION",
    help: "how long it may take to converge",
    schema: durationMs.prefault("60s"),
  },
  clusters: {
    path: "clusters",
    argument: "N",
    help: `how many clusters, at most ${MAX_CLUSTERS}`,
    schema: wholeNumber(1, MAX_CLUSTERS).default(2),
  },
  json: {
    path: "json",
    help: "print one JSON document on standard output; progress goes to standard error",
    schema: booleanSwitch.default(false),
  },
  vault: {
    path: "vault",
    argument: "URL",
    help: "use this Vault for all clusters instead of starting one for each",
    schema: z.url({ protocol: /^https?$/ }).optional(),
  },
  vaultTokenFile: {
    path: "vaultTokenFile",
    argument: "FILE",
    help: "file with a token that may set up that Vault",
    schema: z.string().min(1).optional(),
  },
  setup: {
    path: "setup",
    help: "let the set-up replace what exists in that Vault already",
    schema: booleanSwitch.default(false),
  },
  tokenReviewAddress: {
    path: "tokenReviewAddress",
    argument: "HOST[:PORT]",
    help: "where that Vault reaches this machine to have tokens reviewed; without it 127.0.0.1 and a free port",
    schema: z
      .string()
      .regex(/^[A-Za-z0-9.-]+(:\d{1,5})?$/, "must be host or host:port")
      .optional(),
  },
  portOffset: {
    path: "portOffset",
    argument: "N",
    help: "is added to the fixed ports 9900, 9901 and 9977",
    schema: wholeNumber(0, MAX_PORT_OFFSET).default(0),
  },
});

/** The settings as read. */
export type DemoConfig = ConfigOf<typeof demoOptions>;
