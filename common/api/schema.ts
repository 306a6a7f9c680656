import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import { didYouMean } from "../runtime/config.ts";
import { MeshError } from "../runtime/errors.ts";
import { RESOURCE_DEFINITIONS } from "./crds.gen.ts";
import { OBJECT_META_SCHEMA } from "./object-meta.ts";
import type { Path } from "./problem.ts";
import type { JsonSchema, ResourceDefinition } from "./resources.ts";

/** One place where a document departs from its schema. */
export interface SchemaFault {
  readonly path: Path;
  /** What is there and what the schema asks for, in lower case. */
  readonly message: string;
}

const FORMATS = {
  byte: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
  "date-time": /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/,
  int64: true,
  float: true,
} as const;

const ajv = new Ajv({ strict: false, allErrors: true, coerceTypes: false, verbose: true, formats: FORMATS });
const validators = new Map<string, ValidateFunction>();

/** The definition of a kind, or undefined when deploy/crds has none of that apiVersion and kind. */
export function findDefinition(apiVersion: unknown, kind: unknown): ResourceDefinition | undefined {
  return RESOURCE_DEFINITIONS.find((definition) => definition.apiVersion === apiVersion && definition.kind === kind);
}

/** The definition of a kind of ours. Throws `internal` for any other. */
export function definitionOf(apiVersion: string, kind: string): ResourceDefinition {
  const definition = findDefinition(apiVersion, kind);
  if (!definition) throw new MeshError("internal", `no schema of ${apiVersion} ${kind}`);
  return definition;
}

/**
 * Checks a whole resource against the schema of its CRD and of ObjectMeta. Stricter than the API server in one thing:
 * a field that the schema does not know is refused, where the API server would drop it.
 */
export function checkSchema(definition: ResourceDefinition, resource: unknown): SchemaFault[] {
  const validate = validators.get(definition.kind) ?? ajv.compile(strictSchema(definition));
  validators.set(definition.kind, validate);
  if (validate(resource)) return [];
  const errors = (validate.errors ?? []).filter(({ keyword }) => keyword in FAULTS);
  const mistyped = new Set(errors.filter(({ keyword }) => keyword === "type").map((error) => error.instancePath));
  return errors.filter(({ keyword, instancePath }) => keyword !== "enum" || !mistyped.has(instancePath)).map(toFault);
}

function strictSchema({ schema }: ResourceDefinition): JsonSchema {
  const required = new Set([...(schema.required ?? []), "metadata"]);
  const properties = { ...schema.properties, metadata: OBJECT_META_SCHEMA };
  return closed({ ...schema, required: [...required], properties });
}

/** The schema with every unknown field forbidden, except below what preserves unknown fields. */
function closed(schema: JsonSchema): JsonSchema {
  if (schema["x-kubernetes-preserve-unknown-fields"]) return schema;
  const { properties, additionalProperties, items } = schema;
  return {
    ...schema,
    ...(items && { items: closed(items) }),
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, closed(field)])),
    }),
    ...(schema.type === "object" && {
      additionalProperties: typeof additionalProperties === "object" ? closed(additionalProperties) : false,
    }),
  };
}

function toFault(error: ErrorObject): SchemaFault {
  const params = error.params as Record<string, unknown>;
  const named = params["additionalProperty"] ?? params["missingProperty"];
  const path = pathOf(error);
  return { path: typeof named === "string" ? [...path, named] : path, message: FAULTS[error.keyword]?.(error) ?? "" };
}

/** Steps of a JSON pointer; an index is a number only where the schema has a list. */
function pathOf({ instancePath, schemaPath }: ErrorObject): Path {
  const lists = schemaPath.split("/").filter((step) => step === "items").length;
  const steps = instancePath
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  return lists === 0 ? steps : steps.map((step) => (/^\d+$/.test(step) ? Number(step) : step));
}

/** One sentence per keyword that our schemas use. */
const FAULTS: Readonly<Record<string, (error: ErrorObject) => string>> = {
  additionalProperties: ({ params, parentSchema }) => {
    const name = String((params as Record<string, unknown>)["additionalProperty"]);
    const known = Object.keys((parentSchema as JsonSchema).properties ?? {});
    return `unknown field${name.length <= 64 ? didYouMean(name, known) : ""}`;
  },
  required: () => "is required",
  type: ({ data, schema }) => `is ${describeValue(data)}, must be ${TYPE_NAMES[String(schema)] ?? String(schema)}`,
  enum: ({ data, schema }) => `is ${describeValue(data)}, must be one of ${(schema as string[]).join(", ")}`,
  minimum: ({ data, schema }) => `is ${describeValue(data)}, must be at least ${String(schema)}`,
  maximum: ({ data, schema }) => `is ${describeValue(data)}, must be at most ${String(schema)}`,
  maxLength: ({ data, schema }) => `is ${describeValue(data)}, must have at most ${String(schema)} characters`,
  pattern: ({ data }) => `is ${describeValue(data)}, must be lower-case letters, digits and hyphens as in DNS names`,
  format: ({ data, schema }) =>
    `is ${describeValue(data)}, must be ${schema === "byte" ? "base64" : "a time as of RFC 3339"}`,
  not: ({ schema }) => `${((schema as JsonSchema).required ?? []).join(" and ")} exclude each other`,
};

const TYPE_NAMES: Readonly<Record<string, string>> = {
  object: "an object",
  array: "a list",
  string: "a string",
  boolean: "true or false",
  integer: "a whole number",
  number: "a number",
};

/** A value, short and on one line, with its kind visible. */
export function describeValue(value: unknown): string {
  if (value === undefined) return "absent";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(value);
  return text.length <= 64 ? text : `${text.slice(0, 60)}…`;
}
