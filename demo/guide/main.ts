import { command, runProgram } from "../../common/runtime/process.ts";
import { guideFaults, guideOptions } from "./config.ts";
import { runFigure } from "./report.ts";
import { walkGuide } from "./walk.ts";

const description = "The guide (docs/guide.md) step by step, on two clusters: each command with its outcome.";

await runProgram("guide", description, [
  command({
    name: "guide",
    description,
    options: guideOptions,
    check: guideFaults,
    oneShot: true,
    run: async (config, { signal }) => {
      const document = config.figure
        ? { changes: await runFigure(config, signal) }
        : { steps: await walkGuide(config, signal) };
      if (config.json) process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
    },
  }),
]);
