import { command, runProgram } from "../common/runtime/process.ts";
import { istiodAgentOptions } from "./config.ts";
import { checkIstiodAgentConfig } from "./home.ts";
import { runInitContainer, runSidecar } from "./modes.ts";

await runProgram("istiod-agent", "Gives one istiod its intermediate certificate authority from Vault.", [
  command({
    name: "init-container",
    description: "Waits until the files that istiod starts with are complete, then exits with 0.",
    options: istiodAgentOptions,
    check: checkIstiodAgentConfig,
    run: runInitContainer,
  }),
  command({
    name: "sidecar",
    description: "Renews them, proves that istiod signs with them, and reports.",
    options: istiodAgentOptions,
    check: checkIstiodAgentConfig,
    run: runSidecar,
  }),
]);
