import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import { parse } from "yaml";
import type { JsonSchema } from "../../common/api/resources.ts";
import { generateCrdModule } from "../../scripts/crds.ts";

function undescribed(schema: JsonSchema & { description?: string }, path: string): string[] {
  const fields = Object.entries(schema.properties ?? {});
  const below = [...fields, ["[]", schema.items] as const].flatMap(([name, field]) => {
    return field && (name !== "[]" || field.type === "object") ? undescribed(field, `${path}.${name}`) : [];
  });
  // The API server allows nothing but a type there.
  return schema.description || path.endsWith(".yaml.metadata") ? below : [path, ...below];
}

describe("crds", () => {
  it("crds - the generated module is in step with deploy/crds", async () => {
    const committed = await readFile(new URL("../../common/api/crds.gen.ts", import.meta.url), "utf8");
    assert.equal(committed, await generateCrdModule(), "run: node scripts/crds.ts");
  });

  it("crds - every field has a description for kubectl explain", async () => {
    const folder = new URL("../../deploy/crds/", import.meta.url);
    for (const file of await readdir(folder)) {
      const crd = parse(await readFile(new URL(file, folder), "utf8")) as {
        spec: { versions: { schema: { openAPIV3Schema: JsonSchema } }[] };
      };
      for (const { schema } of crd.spec.versions) assert.deepEqual(undescribed(schema.openAPIV3Schema, file), []);
    }
  });
});
