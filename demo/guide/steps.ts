import { MeshError } from "../../common/runtime/errors.ts";

/** A fenced block of a document that is a step of the walk, as the comment before it says: `<!-- step: NAME … -->`. */
export interface Step {
  readonly name: string;
  /** The heading that it stands below. */
  readonly section: string;
  /** Line of the block's first line, from 1. */
  readonly line: number;
  /** What stands in the block, with the block's own indentation taken off. */
  readonly text: string;
  /** True for what whoever runs the walk gives. */
  readonly isGiven: boolean;
  /** The block is the content of this file and no command. */
  readonly file?: string;
  /** One of several blocks of this name, of which one is run. */
  readonly tab?: string;
  /** True where a healthy command prints nothing. */
  readonly isSilent: boolean;
  /** How long it may be tried again, in milliseconds, where it looks at what others still do; 0: once is enough. */
  readonly withinMs: number;
}

const MARK = /^(?<indent> *)<!-- step: (?<name>[a-z0-9-]+)(?<rest>(?: [a-z]+(?:=[^ ]+)?)*) -->$/;
const FENCE = /^(?<indent> *)(?<fence>`{3,})(?<language>[a-z]*)(?: .*)?$/;
const KEYS: readonly string[] = ["given", "file", "tab", "output", "within"];

/** True for a line that is for the walk alone. */
export const isMark = (line: string): boolean => MARK.test(line);

/**
 * The steps of a document in their order. Throws `invalid_argument`, with the line, for a shell block without a mark, a
 * mark without a block, and a mark that is not understood.
 */
export function parseSteps(markdown: string, path: string): Step[] {
  const lines = markdown.split("\n");
  const steps: Step[] = [];
  let section = "";
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? "";
    section = /^#+ (.+)$/.exec(line)?.[1] ?? section;
    const open = FENCE.exec(line)?.groups;
    if (line.includes("<!-- step:") && !FENCE.test(nextOf(lines, index, 1)))
      fail(path, index, "a mark without a block");
    if (!open) continue;
    const { indent = "", fence = "", language } = open;
    const end = lines.indexOf(`${indent}${fence}`, index + 1);
    if (end < 0) fail(path, index, "the block has no end");
    const mark = nextOf(lines, index, -1);
    const text = lines.slice(index + 1, end).map((each) => each.slice(indent.length));
    if (mark.includes("<!-- step:")) {
      const attributes = attributesOf(mark) ?? fail(path, index, `a mark that is not understood: ${mark.trim()}`);
      steps.push({ ...attributes, section, line: index + 2, text: `${text.join("\n")}\n` });
    } else if (language === "shell") fail(path, index, "a shell block that is no step");
    index = end;
  }
  return steps;
}

/** The line after, or before; a blank one between is the formatter's. */
function nextOf(lines: readonly string[], index: number, way: 1 | -1): string {
  const near = lines[index + way] ?? "";
  return near === "" ? (lines[index + 2 * way] ?? "") : near;
}

function attributesOf(mark: string): Omit<Step, "section" | "line" | "text"> | undefined {
  const { name = "", rest = "" } = MARK.exec(mark)?.groups ?? {};
  const words = rest.split(" ").filter(Boolean);
  const given = new Map(
    words.map((word): [string, string] => {
      const [key = "", value = ""] = word.split("=", 2);
      return [key, value];
    }),
  );
  if (name === "" || [...given.keys()].some((key) => !KEYS.includes(key))) return undefined;
  const [file, tab] = [given.get("file"), given.get("tab")];
  return {
    name,
    isGiven: given.has("given"),
    isSilent: given.get("output") === "none",
    withinMs: Number.parseInt(given.get("within") ?? "0", 10) * 1000,
    ...(file === undefined ? {} : { file }),
    ...(tab === undefined ? {} : { tab }),
  };
}

function fail(path: string, index: number, what: string): never {
  throw new MeshError("invalid_argument", `${path}:${index + 1}: ${what}`);
}
