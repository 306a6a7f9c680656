import type { ErrorCode } from "../runtime/errors.ts";

/** Place in a text file; both count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Steps from the document's root: field names and list indexes. */
export type Path = readonly (string | number)[];

/** Which resource a problem is of, as far as the document says. */
export interface ResourceId {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** One fault in what a person wrote. `path` is "" for the document itself, else like `spec.meshes[1].name`. */
export interface Problem {
  readonly code: ErrorCode;
  readonly path: string;
  /** Lower case, no full stop, with the value and the bound. */
  readonly message: string;
  readonly hint?: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  /** Present when the document names its kind and name, so that the fault can be shown in that resource's status. */
  readonly resource?: ResourceId;
}

/** "file:line:column: path: message (hint)", without the parts that are unknown. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, path, message, hint } = problem;
  const place = file === undefined ? "" : line === undefined ? `${file}: ` : `${file}:${line}:${column ?? 1}: `;
  return `${place}${path === "" ? "" : `${path}: `}${message}${hint === undefined ? "" : ` (${hint})`}`;
}

/** `spec.meshes[1].name`; a field that is no plain word is quoted: `labels["a.b"]`. */
export function formatPath(path: Path): string {
  return path
    .map((step, index) => {
      if (typeof step === "number") return `[${step}]`;
      if (!/^[\w-]+$/.test(step)) return `[${JSON.stringify(step)}]`;
      return index === 0 ? step : `.${step}`;
    })
    .join("");
}
