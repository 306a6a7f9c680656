/**
 * Makes common/api/crds.gen.ts from deploy/crds/*.yaml, so that a bundled program carries the one source of the schema.
 * Prose is left out: `kubectl explain` reads it from the YAML. Run it after each change of deploy/crds.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { format } from "prettier";
import { parse } from "yaml";

interface CustomResourceDefinition {
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string; readonly plural: string };
    readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: unknown } }[];
  };
}

const SOURCE = new URL("../deploy/crds/", import.meta.url);
const TARGET = new URL("../common/api/crds.gen.ts", import.meta.url);

/** Removes each `description` of a schema, but not a property of that name. */
function withoutProse(schema: unknown, isPropertyMap = false): unknown {
  if (Array.isArray(schema)) return schema.map((item) => withoutProse(item));
  if (schema === null || typeof schema !== "object") return schema;
  const kept = Object.entries(schema).filter(([key]) => isPropertyMap || key !== "description");
  return Object.fromEntries(
    kept.map(([key, value]) => [key, withoutProse(value, !isPropertyMap && key === "properties")]),
  );
}

/** Text of the generated module for the CRDs as they stand. */
export async function generateCrdModule(): Promise<string> {
  const files = (await readdir(SOURCE)).filter((file) => file.endsWith(".yaml")).sort();
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, SOURCE), "utf8")));
  const definitions = texts.flatMap((text) => {
    const { spec } = parse(text) as CustomResourceDefinition;
    return spec.versions.map(({ name, schema }) => ({
      apiVersion: `${spec.group}/${name}`,
      kind: spec.names.kind,
      plural: spec.names.plural,
      schema: withoutProse(schema.openAPIV3Schema),
    }));
  });
  const source = `// Made by scripts/crds.ts from deploy/crds. Do not edit.
import type { ResourceDefinition } from "./resources.ts";

/** Each kind of deploy/crds with its schema. */
export const RESOURCE_DEFINITIONS: readonly ResourceDefinition[] = ${JSON.stringify(definitions)};
`;
  return await format(source, { parser: "typescript", printWidth: 120 });
}

if (import.meta.main) await writeFile(TARGET, await generateCrdModule());
