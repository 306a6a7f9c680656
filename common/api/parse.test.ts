import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import fc from "fast-check";
import { stringify } from "yaml";
import { withDefaults } from "./defaults.ts";
import { parseResources } from "./parse.ts";
import { formatProblem } from "./problem.ts";
import type { VirtualMesh } from "./virtual-mesh.ts";

const EXAMPLES = new URL("../../examples/", import.meta.url);

const HEAD = `apiVersion: networking.mesh.gloo.solo.io/v1
kind: VirtualMesh
metadata: { name: vm, namespace: gloo-mesh }
`;

/** Problems of a VirtualMesh whose spec is `spec`, as people see them; the spec begins in line 5. */
function problemsOf(spec: string): string[] {
  return parseResources(`${HEAD}spec:\n${spec}\n`, "vm.yaml").problems.map(formatProblem);
}

const VAULT = "  mtlsConfig: { shared: { intermediateCertificateAuthority: { vault: ";

describe("parseResources", () => {
  it("parse - the guide's VirtualMesh is read as it stands, byte for byte", async () => {
    const text = await readFile(new URL("virtual-mesh.yaml", EXAMPLES), "utf8");
    const sha256 = createHash("sha256").update(text).digest("hex");
    assert.equal(sha256, "2eeb1c17c2f066b7dd09135a93f98e511f9278d0df3e7e3e073c40733a78c1e6");
    const { resources, problems } = parseResources(text, "virtual-mesh.yaml");
    assert.deepEqual(problems, []);
    const [parsed] = resources;
    assert.equal(parsed?.resource.kind, "VirtualMesh");
    assert.deepEqual(parsed.locate(["spec", "meshes", 1, "name"]), { line: 28, column: 5 });
  });

  it("parse - every file of examples is read without a problem", async () => {
    for (const file of (await readdir(EXAMPLES)).filter((name) => name.endsWith(".yaml"))) {
      const { resources, problems } = parseResources(await readFile(new URL(file, EXAMPLES), "utf8"), file);
      assert.deepEqual([resources.length, problems], [1, []], file);
    }
  });

  const OPTIONS = "spec.mtlsConfig.shared.intermediateCertOptions";
  const VAULT_PATH = "spec.mtlsConfig.shared.intermediateCertificateAuthority.vault";
  const REFUSED: readonly (readonly [what: string, spec: string, place: string, problem: string])[] = [
    ["an unknown field", "  mtlsConfg: {}", "mtlsConfg", "spec.mtlsConfg: unknown field; did you mean mtlsConfig?"],
    [
      "a text for a number",
      `${VAULT}{} }, intermediateCertOptions: { ttlDays: "9" } } }`,
      "ttlDays",
      `${OPTIONS}.ttlDays: is "9", must be a whole number`,
    ],
    [
      "a fraction for a number",
      `${VAULT}{} }, intermediateCertOptions: { ttlDays: 1.5 } } }`,
      "ttlDays",
      `${OPTIONS}.ttlDays: is 1.5, must be a whole number`,
    ],
    [
      "a negative uint32",
      `${VAULT}{} }, intermediateCertOptions: { ttlDays: -1 } } }`,
      "ttlDays",
      `${OPTIONS}.ttlDays: is -1, must be at least 0`,
    ],
    [
      "an unknown enum",
      "  globalAccessPolicy: enabled",
      "globalAccessPolicy",
      'spec.globalAccessPolicy: is "enabled", must be one of MESH_DEFAULT, ENABLED, DISABLED',
    ],
    [
      "an enum by number",
      "  globalAccessPolicy: 1",
      "globalAccessPolicy",
      "spec.globalAccessPolicy: is 1, must be a string",
    ],
    ["nothing where an object is wanted", "  meshes: [ ~ ]", "~", "spec.meshes[0]: is null, must be an object"],
    [
      "both authorities",
      "  mtlsConfig: { shared: { rootCertificateAuthority: {}, intermediateCertificateAuthority: {} } }",
      "shared",
      "spec.mtlsConfig.shared: rootCertificateAuthority and intermediateCertificateAuthority exclude each other",
    ],
    [
      "both trust models",
      "  mtlsConfig: { shared: {}, limited: {} }",
      "mtlsConfig",
      "spec.mtlsConfig: shared and limited exclude each other",
    ],
    [
      "both sources of trust in Vault",
      `${VAULT}{ caBundle: "", caLocalPath: /f } } } }`,
      "vault",
      `${VAULT_PATH}: caBundle and caLocalPath exclude each other`,
    ],
    [
      "both ways to log in",
      `${VAULT}{ tokenSecretRef: {}, kubernetesAuth: {} } } } }`,
      "vault",
      `${VAULT_PATH}: tokenSecretRef and kubernetesAuth exclude each other`,
    ],
    [
      "bytes that are no base64",
      `${VAULT}{ caBundle: "-----BEGIN" } } } }`,
      "caBundle",
      `${VAULT_PATH}.caBundle: is "-----BEGIN", must be base64`,
    ],
    ["a field given twice", "  meshes: []\n  meshes: []", "meshes", "map keys must be unique"],
    ["text that is no yaml", "  meshes: }", "}", 'unexpected flow-map-end token in YAML stream: "}"'],
  ];
  for (const [what, spec, place, problem] of REFUSED) {
    it(`parse - ${what} is refused with its place`, () => {
      const lines = `${HEAD}spec:\n${spec}`.split("\n");
      const [first] = problemsOf(spec);
      assert.equal(first, `vm.yaml:${lines.length}:${(lines.at(-1) ?? "").indexOf(place) + 1}: ${problem}`);
    });
  }

  it("parse - a fault names its resource, and leaves the other documents unharmed", () => {
    const text = `${HEAD}spec: { x: 1 }\n---\n${HEAD.replace("name: vm,", "name: other,")}spec: {}\n---\n# nothing\n`;
    const { resources, problems } = parseResources(text, "f");
    assert.deepEqual(
      resources.map(({ resource }) => resource.metadata.name),
      ["other"],
    );
    assert.deepEqual(
      problems.map(({ resource }) => resource),
      [{ kind: "VirtualMesh", namespace: "gloo-mesh", name: "vm" }],
    );
  });

  it("parse - metadata needs a name and a namespace that Kubernetes takes", () => {
    const text = HEAD.replace("name: vm, namespace: gloo-mesh", "name: Vm, lables: {}");
    assert.deepEqual(parseResources(`${text}spec: {}`, "f").problems.map(formatProblem), [
      "f:3:1: metadata.namespace: is required",
      "f:3:23: metadata.lables: unknown field; did you mean labels?",
      'f:3:13: metadata.name: is "Vm", must be lower-case letters, digits and hyphens as in DNS names',
    ]);
  });

  it("parse - an unknown kind and a wrong apiVersion are refused with what is known", () => {
    const { problems } = parseResources("kind: Mesh\napiVersion: v1\nmetadata: {name: m, namespace: n}", "f");
    assert.match(
      formatProblem(problems[0] ?? assert.fail()),
      /^f:2:1: apiVersion: .*discovery\.mesh\.gloo\.solo\.io\/v1 Mesh/,
    );
  });

  it("parse - what kubectl prints is accepted, with the times it leaves open taken out", () => {
    const metadata = "metadata: { name: vm, namespace: n, creationTimestamp: null, uid: u, managedFields: [{ a: 1 }] }";
    const { resources, problems } = parseResources(`${HEAD.replace(/metadata.*/, metadata)}spec: {}`, "f");
    assert.deepEqual(problems, []);
    assert.equal(resources[0]?.resource.metadata.creationTimestamp, undefined);
  });

  it("parse - no text whatever makes it throw", () => {
    const yaml = fc.string({ unit: fc.constantFrom(..."{}[]:-,&*!|>'\"#%@` \n\tab0.?~<".split("")), maxLength: 60 });
    const values = fc.object({ key: fc.constantFrom("spec", "metadata", "kind", "meshes", "x"), maxDepth: 5 });
    const texts = fc.oneof(
      fc.string(),
      yaml,
      yaml.map((text) => `${HEAD}spec:\n  meshes: ${text}`),
      values.map((value) => HEAD + stringify(value)),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const { resources, problems } = parseResources(text, "f");
        for (const problem of problems) assert.ok(problem.message !== "" && (problem.line ?? 1) >= 1);
        for (const { resource, locate } of resources)
          assert.ok(locate(["spec"]).line >= 1 && resource.metadata.name !== "");
      }),
      { numRuns: 500 },
    );
  });

  it("parse - text of nothing but brackets, bombs of aliases and too long texts end in a problem", () => {
    const bomb = `a: &a [1,1,1,1,1,1,1,1,1]\n${"bcdefgh"
      .split("")
      .map(
        (key, i) =>
          `${key}: &${key} [${Array(9)
            .fill(`*${"abcdefgh"[i] ?? ""}`)
            .join(",")}]`,
      )
      .join("\n")}`;
    for (const text of ["[".repeat(20_000), bomb, "x".repeat(4 * 1024 * 1024 + 1)]) {
      const { resources, problems } = parseResources(text, "f");
      assert.equal(resources.length, 0);
      assert.ok(problems.length >= 1 && problems.length <= 20, `${problems.length} problems`);
    }
  });
});

describe("withDefaults", () => {
  it("defaults - the reference's are filled in, and nothing that was written changes", async () => {
    const text = await readFile(new URL("virtual-mesh.yaml", EXAMPLES), "utf8");
    const written = parseResources(text, "f").resources[0]?.resource as VirtualMesh;
    const before = structuredClone(written);
    const { mtlsConfig, federation, globalAccessPolicy } = withDefaults(written.spec);
    assert.deepEqual(written, before);
    assert.deepEqual(mtlsConfig?.shared?.intermediateCertOptions, {
      ttlDays: 365,
      rsaKeySizeBytes: 4096,
      orgName: "Istio",
      secretRotationGracePeriodRatio: 0.1,
    });
    assert.deepEqual(mtlsConfig.shared.intermediateCertificateAuthority?.vault, {
      ...written.spec.mtlsConfig?.shared?.intermediateCertificateAuthority?.vault,
      kubernetesAuth: { role: "gen-int-ca-istio", mountPath: "/v1/auth/kubernetes", secretTokenKey: "token" },
    });
    assert.deepEqual([mtlsConfig.autoRestartPods, mtlsConfig.rotationStrategy], [true, "MULTI_ROOT"]);
    assert.deepEqual([federation?.hostnameSuffix, globalAccessPolicy], ["global", "MESH_DEFAULT"]);
  });
});
