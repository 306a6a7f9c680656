import { readFile } from "node:fs/promises";
import { format } from "prettier";
import { parse } from "yaml";

/** Folder of the charts. */
export const CHARTS = new URL("../deploy/charts/", import.meta.url);

interface ValueSchema {
  readonly description?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, ValueSchema>>;
}

/** One value of a chart. */
export interface ChartValue {
  /** `relay.cluster`. */
  readonly path: string;
  /** From the schema; undefined where it does not describe the value. */
  readonly description: string | undefined;
  /** From values.yaml; undefined where there is none. */
  readonly default: unknown;
  readonly isRequired: boolean;
}

/** Not for people to set: the output of a Helm command, and what Helm adds. */
const NOT_OURS = new Set(["USER-SUPPLIED VALUES", "global"]);

/** The values of a chart in the order of its schema. */
export async function chartValues(chart: string): Promise<ChartValue[]> {
  const text = (file: string): Promise<string> => readFile(new URL(`${chart}/${file}`, CHARTS), "utf8");
  const schema = JSON.parse(await text("values.schema.json")) as ValueSchema;
  return valuesBelow(schema, parse(await text("values.yaml")), "");
}

function valuesBelow(schema: ValueSchema, defaults: unknown, prefix: string): ChartValue[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, value]) => {
    const path = prefix === "" ? name : `${prefix}.${name}`;
    if (NOT_OURS.has(path)) return [];
    const standard = (defaults as Readonly<Record<string, unknown>> | undefined)?.[name];
    if (value.properties) return valuesBelow(value, standard, path);
    const isRequired = standard === undefined && (schema.required?.includes(name) ?? false);
    return [{ path, description: value.description, default: standard, isRequired }];
  });
}

const MARKED = /(<!-- values: (\S+) -->\n)[^]*?(<!-- end -->)/g;

/** Text of docs/charts.md with the table of each chart as its schema and its values.yaml have it. */
export async function withChartValues(text: string): Promise<string> {
  const charts = [...text.matchAll(MARKED)].map(([, , chart = ""]) => chart);
  const tables = new Map(
    await Promise.all(charts.map(async (chart) => [chart, valuesTable(await chartValues(chart))] as const)),
  );
  const filled = text.replace(MARKED, (_, start: string, chart: string, end: string) => {
    return `${start}\n${tables.get(chart) ?? ""}\n\n${end}`;
  });
  return format(filled, { parser: "markdown", printWidth: 120 });
}

function valuesTable(values: readonly ChartValue[]): string {
  const rows = values.map((value) => `| \`${value.path}\` | ${describeDefault(value)} | ${value.description ?? ""} |`);
  return ["| value | default | what it is |", "|---|---|---|", ...rows].join("\n");
}

function describeDefault({ default: value, isRequired }: ChartValue): string {
  if (isRequired) return "**required**";
  if (value === undefined || value === "") return "–";
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}
