import { posix } from "node:path";
import { MeshError } from "../../../common/runtime/errors.ts";

/** A COPY: files and folders of the build context, and where they go. */
export interface Copy {
  readonly sources: readonly string[];
  /** Absolute; ends in a slash when it is a folder that takes the sources under their own names. */
  readonly destination: string;
}

/** A stage as it stands at its end. */
export interface Stage {
  /** What it adds to its base, layer by layer, those of the stages below it first. */
  readonly layers: readonly (readonly Copy[])[];
  readonly entrypoint: readonly string[];
  readonly user: string;
  readonly env: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
}

export interface BuildOptions {
  readonly target: string;
  /** Values of `--build-arg`. */
  readonly args?: Readonly<Record<string, string>>;
}

const SCRATCH: Stage = { layers: [], entrypoint: [], user: "", env: {}, labels: {}, workingDirectory: "/" };

interface Instruction {
  readonly line: number;
  readonly name: string;
  readonly rest: string;
}

/**
 * What a Dockerfile makes of its target, for files that use FROM, ARG, COPY, ENV, LABEL, WORKDIR, USER and ENTRYPOINT
 * alone. Everything else, flags too, is refused with its line: to leave out what it says would make another image.
 */
export function interpretDockerfile(text: string, { target, args = {} }: BuildOptions): Stage {
  const stages = new Map<string, StageBuilder>();
  const outer: Record<string, string> = {};
  let current: StageBuilder | undefined;
  for (const instruction of instructionsOf(text)) {
    if (instruction.name === "FROM") {
      const { base, name } = parseFrom(instruction, outer);
      current = new StageBuilder(stages.get(base)?.stage ?? SCRATCH, args);
      stages.set(name, current);
    } else if (current) {
      current.apply(instruction);
    } else {
      if (instruction.name !== "ARG") throw refused(instruction, "only ARG may stand before the first FROM");
      declare(outer, instruction, args);
    }
  }
  const built = stages.get(target);
  if (!built)
    throw new MeshError("invalid_argument", `no stage ${target}, want one of ${[...stages.keys()].join(", ")}`);
  return built.stage;
}

function instructionsOf(text: string): Instruction[] {
  const found: Instruction[] = [];
  let open: { line: number; text: string } | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    open = { line: open?.line ?? index + 1, text: `${open?.text ?? ""}${line.replace(/\\\s*$/, " ")}` };
    if (/\\\s*$/.test(line)) continue;
    const [, name = "", rest = ""] = /^\s*(\S+)\s*(.*?)\s*$/.exec(open.text) ?? [];
    found.push({ line: open.line, name: name.toUpperCase(), rest });
    open = undefined;
  }
  return found;
}

function refused({ line, name }: Instruction, why: string): MeshError {
  return new MeshError("invalid_argument", `Dockerfile line ${line}: ${name}: ${why}`);
}

function parseFrom(instruction: Instruction, variables: Readonly<Record<string, string>>) {
  const [, base, name] = /^(\S+)\s+AS\s+([a-z0-9-]+)$/i.exec(instruction.rest) ?? [];
  if (base === undefined || name === undefined) throw refused(instruction, "want FROM base AS name");
  return { base: substituted(instruction, base, variables), name };
}

function declare(
  variables: Record<string, string>,
  instruction: Instruction,
  given: Readonly<Record<string, string>>,
): void {
  const [, name = "", fallback = ""] = /^([A-Za-z_]\w*)(?:=(\S*))?$/.exec(instruction.rest) ?? [];
  if (name === "") throw refused(instruction, "want NAME or NAME=value");
  variables[name] = given[name] ?? substituted(instruction, fallback, variables);
}

function substituted(instruction: Instruction, text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\$(?:\{(\w+)\}|(\w+)|)/g, (whole, braced?: string, bare?: string) => {
    const value = variables[braced ?? bare ?? ""];
    if (value === undefined) throw refused(instruction, `${whole} is not declared`);
    return value;
  });
}

class StageBuilder {
  stage: Stage;
  readonly #given: Readonly<Record<string, string>>;
  readonly #variables: Record<string, string> = {};
  #copies: Copy[] | undefined;

  constructor(base: Stage, given: Readonly<Record<string, string>>) {
    this.stage = base;
    this.#given = given;
  }

  apply(instruction: Instruction): void {
    const { stage } = this;
    const value = substituted(instruction, instruction.rest, { ...stage.env, ...this.#variables });
    switch (instruction.name) {
      case "ARG":
        return declare(this.#variables, instruction, this.#given);
      case "ENV":
        return this.#set({ env: { ...stage.env, ...pairs(instruction, value) } });
      case "LABEL":
        return this.#set({ labels: { ...stage.labels, ...pairs(instruction, value) } });
      case "USER":
        return this.#set({ user: value });
      case "WORKDIR":
        return this.#set({ workingDirectory: posix.resolve(stage.workingDirectory, value) });
      case "ENTRYPOINT":
        return this.#set({ entrypoint: words(instruction, value) });
      case "COPY":
        return this.#copy(instruction, value);
      default:
        throw refused(instruction, "this instruction is not known here");
    }
  }

  #set(change: Partial<Stage>): void {
    this.stage = { ...this.stage, ...change };
  }

  /** All that a stage copies is one layer. */
  #copy(instruction: Instruction, value: string): void {
    const sources = value.split(/\s+/);
    const last = sources.pop() ?? "";
    if (sources.length === 0) throw refused(instruction, "want sources and a destination");
    if (value.startsWith("--")) throw refused(instruction, "flags are not known here");
    if (sources.some((source) => posix.isAbsolute(source) || source.split("/").includes(".."))) {
      throw refused(instruction, "a source must lie in the build context");
    }
    if (sources.length > 1 && !last.endsWith("/"))
      throw refused(instruction, "several sources want a folder: end it in /");
    const resolved = posix.resolve(this.stage.workingDirectory, last);
    const copy = { sources, destination: last.endsWith("/") ? `${resolved}/` : resolved };
    const below = this.#copies ? this.stage.layers.slice(0, -1) : this.stage.layers;
    this.#copies = [...(this.#copies ?? []), copy];
    this.#set({ layers: [...below, this.#copies] });
  }
}

/** `a=b c="d e"`. */
function pairs(instruction: Instruction, text: string): Record<string, string> {
  const pattern = /([\w.-]+)=(?:"([^"]*)"|([^\s"]+))(?:\s+|$)/gy;
  const found: Record<string, string> = {};
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    found[match[1] ?? ""] = match[2] ?? match[3] ?? "";
    end = match.index + match[0].length;
  }
  if (end !== text.length || text === "") throw refused(instruction, 'want name=value, or name="value"');
  return found;
}

/** The JSON form alone: the other one would need a shell in every base. */
function words(instruction: Instruction, text: string): string[] {
  const value = parseJson(text);
  if (!Array.isArray(value) || !value.every((word) => typeof word === "string")) {
    throw refused(instruction, 'want ["program", "argument"]');
  }
  return value;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
