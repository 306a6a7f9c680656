import { envOf, flagOf, type Option } from "../common/runtime/config.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";
import { formatTable } from "../common/runtime/table.ts";
import { connectionOptions } from "./connection.ts";
import { print } from "./output.ts";

const options = command({
  name: "options",
  description: "tell the flags that most commands have: where the server is",
  options: {},
  oneShot: true,
  run: async () => {
    const rows = Object.values(connectionOptions).map((option: Option) => {
      return [`${flagOf(option)} <${option.argument ?? ""}>`, envOf(option), option.help];
    });
    print(formatTable(["FLAG", "VARIABLE", "WHAT IT IS"], rows));
  },
});

export const optionsCommands: readonly AnyCommand[] = [options];
