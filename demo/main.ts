import { command, runProgram } from "../common/runtime/process.ts";
import { demoOptions } from "./config.ts";
import { runDemo } from "./demo.ts";

const description = "The main job on this machine: a server, clusters with agent and istiod-agent, and their Vaults.";

await runProgram("demo", description, [
  command({
    name: "demo",
    description,
    options: demoOptions,
    oneShot: true,
    run: (config, { signal }) => runDemo(config, signal),
  }),
]);
