import { runProgram } from "../common/runtime/process.ts";
import { meshctlCommands } from "./commands.ts";

await runProgram("meshctl", "the operator's command line for mesh-relay", meshctlCommands);
