import { LineCounter, parseAllDocuments, type Document, type YAMLError } from "yaml";
import { RESOURCE_DEFINITIONS } from "./crds.gen.ts";
import { formatPath, type Path, type Position, type Problem, type ResourceId } from "./problem.ts";
import type { Resource } from "./resources.ts";
import { checkSchema, describeValue, findDefinition, type SchemaFault } from "./schema.ts";
import { positionOf } from "./yaml-position.ts";

/** A resource that fits its schema, and where its parts stand in the file. */
export interface ParsedResource {
  readonly resource: Resource;
  readonly file: string;
  /** Place of the deepest part of `path` that exists. */
  readonly locate: (path: Path) => Position;
}

export interface ParsedFile {
  readonly file: string;
  /** In the order of the file. */
  readonly resources: readonly ParsedResource[];
  readonly problems: readonly Problem[];
}

/** Room for the records of thousands of clusters in one file. */
const MAX_CHARACTERS = 4 * 1024 * 1024;

interface Source {
  readonly file: string;
  readonly document: Document.Parsed;
  readonly lines: LineCounter;
}

/** Of one document: beyond that they say the same again. */
const MAX_PROBLEMS = 20;

/**
 * Reads the resources of one YAML (or JSON) text of any number of documents. A faulty document gives problems and no
 * resource; the others are unharmed. Never throws, whatever the text is.
 */
export function parseResources(text: string, file: string): ParsedFile {
  if (text.length > MAX_CHARACTERS) {
    const message = `${text.length} characters, at most ${MAX_CHARACTERS} are read`;
    return { file, resources: [], problems: [{ code: "resource_invalid", path: "", message, file }] };
  }
  const lines = new LineCounter();
  try {
    const documents = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      logLevel: "error",
      merge: true,
    });
    const parsed = [...documents].map((document) => parseDocument({ file, document, lines }));
    return {
      file,
      resources: parsed.flatMap(({ resource }) => resource ?? []),
      problems: parsed.flatMap(({ problems }) => problems),
    };
  } catch (error) {
    // The library recurses, so a text of nothing but brackets overflows the stack.
    const message = `cannot be read: ${(error as Error).message}`;
    return { file, resources: [], problems: [{ code: "resource_invalid", path: "", message, file }] };
  }
}

interface ParsedDocument {
  readonly resource?: ParsedResource;
  readonly problems: readonly Problem[];
}

function parseDocument(source: Source): ParsedDocument {
  const value = toPlain(source);
  const syntax = [...source.document.errors, ...source.document.warnings].slice(0, MAX_PROBLEMS);
  if (syntax.length > 0) return { problems: syntax.map((error) => syntaxProblem(source, error, identify(value))) };
  if (value === null) return { problems: [] };
  const faults = checkDocument(value).slice(0, MAX_PROBLEMS);
  if (faults.length > 0) return { problems: faults.map((fault) => schemaProblem(source, fault, identify(value))) };
  const resource = withoutNullTimes(value as Resource);
  return { resource: { resource, file: source.file, locate: (path) => positionOf(source, path) }, problems: [] };
}

/** The document as plain values; undefined when it cannot be made so, with the reason among the document's errors. */
function toPlain({ document }: Source): unknown {
  if (document.errors.length === 0 && document.contents === null) return null;
  try {
    return document.toJS({ maxAliasCount: 100 }) as unknown;
  } catch (error) {
    document.errors.push(Object.assign(error as YAMLError, { pos: [document.range[0], document.range[0]] as const }));
    return undefined;
  }
}

function checkDocument(value: unknown): SchemaFault[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [{ path: [], message: "must be an object with apiVersion, kind, metadata and spec" }];
  }
  const { apiVersion, kind } = value as Record<string, unknown>;
  const definition = findDefinition(apiVersion, kind);
  if (definition) return checkSchema(definition, value);
  const known = RESOURCE_DEFINITIONS.map((other) => `${other.apiVersion} ${other.kind}`).join(", ");
  const step = RESOURCE_DEFINITIONS.some((other) => other.kind === kind) ? "apiVersion" : "kind";
  const given = `apiVersion ${describeValue(apiVersion)} and kind ${describeValue(kind)}`;
  return [{ path: [step], message: `${given} are not known here, must be one of ${known}` }];
}

/** Kind, namespace and name of a faulty document, as far as they are there. */
function identify(value: unknown): ResourceId | undefined {
  const { kind, metadata } = fieldsOf(value);
  const { name, namespace } = fieldsOf(metadata);
  if (typeof kind !== "string" || typeof name !== "string") return undefined;
  return { kind, name, namespace: typeof namespace === "string" ? namespace : "" };
}

const fieldsOf = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};

function syntaxProblem({ file, lines }: Source, error: YAMLError, resource: ResourceId | undefined): Problem {
  const { line, col } = lines.linePos(error.pos[0]);
  const message = error.message.charAt(0).toLowerCase() + error.message.slice(1);
  return { code: "resource_invalid", path: "", message, file, line, column: col, ...(resource && { resource }) };
}

function schemaProblem(source: Source, { path, message }: SchemaFault, resource: ResourceId | undefined): Problem {
  return {
    code: "resource_invalid",
    path: formatPath(path),
    message,
    file: source.file,
    ...positionOf(source, path),
    ...(resource && { resource }),
  };
}

/** Tools print `creationTimestamp: null` for an object that no API server has seen. */
function withoutNullTimes(resource: Resource): Resource {
  const metadata = Object.fromEntries(Object.entries(resource.metadata).filter(([, value]) => value !== null));
  return { ...resource, metadata: metadata as unknown as Resource["metadata"] };
}
