import { runProgram } from "../common/runtime/process.ts";
import { clusterCommands } from "./cluster.ts";
import { operatorCommands } from "./operator.ts";
import { relayCommands } from "./relay.ts";
import { statusCommands } from "./status.ts";
import { versionCommands } from "./version.ts";

await runProgram("meshctl", "the operator's command line for mesh-relay", [
  ...clusterCommands,
  ...relayCommands,
  ...statusCommands,
  ...operatorCommands,
  ...versionCommands,
]);
