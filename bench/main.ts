import { writeFile } from "node:fs/promises";
import { command, runProgram } from "../common/runtime/process.ts";
import { measure } from "./bench.ts";
import { benchOptions, settingsOf } from "./config.ts";
import { formatReport, reportOf } from "./report.ts";

const description = "Measures our programs beside bare ones of the same libraries, in turn, in one run.";

await runProgram("bench", description, [
  command({
    name: "bench",
    description,
    options: benchOptions,
    oneShot: true,
    run: async (config, { signal }) => {
      const settings = settingsOf(config);
      const progress = (text: string): void => void process.stderr.write(`${text}\n`);
      const report = await reportOf(settings, () => measure(settings, { signal, progress }));
      const json = `${JSON.stringify(report, undefined, 2)}\n`;
      if (config.out !== undefined) await writeFile(config.out, json);
      process.stdout.write(config.json ? json : `${formatReport(report)}\n`);
    },
  }),
]);
