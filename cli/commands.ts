import type { AnyCommand } from "../common/runtime/process.ts";
import { adminCommands } from "./admin.ts";
import { clusterCommands } from "./cluster.ts";
import { meshCommands } from "./mesh.ts";
import { optionsCommands } from "./options.ts";
import { operatorCommands } from "./operator.ts";
import { relayCaCommands } from "./relay-ca.ts";
import { relayCommands } from "./relay.ts";
import { statusCommands } from "./status.ts";
import { versionCommands } from "./version.ts";

/** Every command of meshctl. */
export const meshctlCommands: readonly AnyCommand[] = [
  ...clusterCommands,
  ...relayCommands,
  ...relayCaCommands,
  ...statusCommands,
  ...meshCommands,
  ...operatorCommands,
  ...adminCommands,
  ...optionsCommands,
  ...versionCommands,
];
