/**
 * Writes the tables of settings into docs/programs.md, from the options that the programs declare, and those of values
 * into docs/charts.md, from the charts' schemas. Run it after each change of either; test/house compares.
 */
import { readFile, writeFile } from "node:fs/promises";
import { format } from "prettier";
import { agentOptions } from "../agent/config.ts";
import { envOf, flagOf, type Option, type Options } from "../common/runtime/config.ts";
import { demoOptions } from "../demo/config.ts";
import { guideOptions } from "../demo/guide/config.ts";
import { istiodAgentOptions } from "../istiod-agent/config.ts";
import { serverOptions } from "../server/config.ts";
import { withChartValues } from "./chart-docs.ts";

const PROGRAMS_PAGE = new URL("../docs/programs.md", import.meta.url);
const CHARTS_PAGE = new URL("../docs/charts.md", import.meta.url);

/** Programs by the name in their table's mark, `<!-- settings: NAME -->`. */
const PROGRAMS: Readonly<Record<string, Options>> = {
  "enterprise-networking": serverOptions,
  "enterprise-agent": agentOptions,
  "istiod-agent": istiodAgentOptions,
  demo: demoOptions,
  guide: guideOptions,
};

const MARKED = /(<!-- settings: (\S+) -->\n)[^]*?(<!-- end -->)/g;

/** Text of docs/programs.md with every table as the code has it. */
export async function withSettings(text: string): Promise<string> {
  const filled = text.replace(MARKED, (_, start: string, program: string, end: string) => {
    const options = PROGRAMS[program];
    if (!options) throw new Error(`docs/programs.md: no program named ${program}`);
    return `${start}\n${settingsTable(options)}\n\n${end}`;
  });
  return format(filled, { parser: "markdown", printWidth: 120 });
}

function settingsTable(options: Options): string {
  const rows = Object.values(options).map(settingRow);
  return ["| flag | variable | in the file | default | what it is |", "|---|---|---|---|---|", ...rows].join("\n");
}

function settingRow(option: Option): string {
  const { argument, path, help } = option;
  const flag = `${flagOf(option)}${argument === undefined ? "" : ` ${argument}`}`;
  return `| \`${flag}\` | \`${envOf(option)}\` | \`${path}\` | ${describeDefault(option)} | ${help} |`;
}

function describeDefault({ schema }: Option): string {
  const { def } = schema._zod;
  if (!("defaultValue" in def)) return schema.safeParse(undefined).success ? "–" : "**required**";
  const value = def.defaultValue;
  const text = typeof value === "string" ? value : Array.isArray(value) ? value.join(",") : JSON.stringify(value);
  return text === "" ? "–" : `\`${text}\``;
}

if (import.meta.main) {
  await writeFile(PROGRAMS_PAGE, await withSettings(await readFile(PROGRAMS_PAGE, "utf8")));
  await writeFile(CHARTS_PAGE, await withChartValues(await readFile(CHARTS_PAGE, "utf8")));
}
