import { command, runProgram } from "../common/runtime/process.ts";
import { runServer } from "./server.ts";
import { checkServerConfig, serverOptions } from "./config.ts";

const NAME = "enterprise-networking";
const DESCRIPTION = "the management server: streams VirtualMesh intent to the agents of all clusters";

await runProgram(NAME, DESCRIPTION, [
  command({ name: NAME, description: DESCRIPTION, options: serverOptions, check: checkServerConfig, run: runServer }),
]);
