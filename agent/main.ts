import { command, runProgram } from "../common/runtime/process.ts";
import { runAgent } from "./agent.ts";
import { agentOptions, checkAgentConfig } from "./config.ts";

const NAME = "enterprise-agent";
const DESCRIPTION = "the agent of one cluster: intent from the management server, orders to istiods";

await runProgram(NAME, DESCRIPTION, [
  command({ name: NAME, description: DESCRIPTION, options: agentOptions, check: checkAgentConfig, run: runAgent }),
]);
