import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseResources } from "../../common/api/parse.ts";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { skipWithout } from "../harness/needs.ts";
import { eventually } from "../harness/wait.ts";

const ROOT = new URL("../../", import.meta.url);
const VAULT = "mtlsConfig: { shared: { intermediateCertificateAuthority: { vault: ";

/** A spec of a VirtualMesh, and whether it fits the schema. */
const SPECS: readonly (readonly [what: string, spec: string, fits: boolean])[] = [
  ["nothing at all", "{}", true],
  ["a released VirtualMesh", "{ meshes: [] }", true],
  ["an unknown field", "{ mtlsConfg: {} }", false],
  ["an unknown field in a list", "{ meshes: [{ nme: m }] }", false],
  [
    "both authorities",
    `{ mtlsConfig: { shared: { rootCertificateAuthority: {}, intermediateCertificateAuthority: {} } } }`,
    false,
  ],
  ["both ways to log in", `{ ${VAULT}{ tokenSecretRef: {}, kubernetesAuth: {} } } } } }`, false],
  ["both sources of trust", `{ ${VAULT}{ caBundle: "", caLocalPath: /f } } } } }`, false],
  ["bytes", `{ ${VAULT}{ caBundle: "cGVt" } } } } }`, true],
  ["bytes that are no base64", `{ ${VAULT}{ caBundle: "p-m" } } } } }`, false],
  ["an enum", "{ globalAccessPolicy: ENABLED }", true],
  ["an unknown enum", "{ globalAccessPolicy: enabled }", false],
  ["a text for a number", `{ ${VAULT}{} }, intermediateCertOptions: { ttlDays: "1" } } } }`, false],
  ["the greatest uint32", `{ ${VAULT}{} }, intermediateCertOptions: { ttlDays: 4294967295 } } } }`, true],
  ["a greater number", `{ ${VAULT}{} }, intermediateCertOptions: { ttlDays: 4294967296 } } } }`, false],
];

suite("real api server, crds", { skip: skipWithout(API_SERVER_TOOLS) }, () => {
  let api: ApiServer;
  before(async () => {
    api = await startApiServer();
    await api.kubectl(["create", "namespace", "gloo-mesh"]);
    await api.kubectl(["apply", "-f", fileURLToPath(new URL("deploy/crds", ROOT))]);
    await api.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
  });
  after(() => api[Symbol.asyncDispose]());

  test("real crds - the API server finds nothing to complain about in the schemas", async () => {
    const list = JSON.parse(await api.kubectl(["get", "crd", "-o", "json"])) as {
      items: { metadata: { name: string }; status: { conditions: { type: string; status: string }[] } }[];
    };
    assert.equal(list.items.length, 4);
    for (const { metadata, status } of list.items) {
      const held = status.conditions.filter((condition) => condition.status === "True").map(({ type }) => type);
      assert.deepEqual(held.sort(), ["Established", "NamesAccepted"], metadata.name);
    }
    const field = "virtualmesh.spec.mtlsConfig.shared";
    // The API server publishes a new kind's OpenAPI a little after it serves the kind.
    const explained = await eventually("kubectl explain", () => api.kubectl(["explain", field]));
    assert.match(explained, /All meshes share one root/);
  });

  for (const [what, spec, fits] of SPECS) {
    test(`real crds - the API server and our parser agree on ${what}`, async () => {
      const text = `apiVersion: networking.mesh.gloo.solo.io/v1
kind: VirtualMesh
metadata: { name: vm, namespace: gloo-mesh }
spec: ${spec}
`;
      const dryRun = api.kubectl(["create", "--dry-run=server", "--validate=strict", "-f", "-"], text);
      const answer = await dryRun.then(
        () => true,
        (error: unknown) => {
          assert.match(String(error), /is invalid|unknown field/);
          return false;
        },
      );
      assert.deepEqual([answer, parseResources(text, "f").problems.length === 0], [fits, fits]);
    });
  }

  test("real crds - the examples are stored, their status is a subresource, and kubectl shows and awaits it", async () => {
    await api.kubectl(["apply", "--validate=strict", "-f", fileURLToPath(new URL("examples", ROOT))]);
    const name = ["virtualmesh", "virtual-mesh", "--namespace", "gloo-mesh"];
    const time = "2026-01-01T00:00:00Z";
    const ready = { type: "Ready", status: "True", lastTransitionTime: time, reason: "Proved", message: "2 of 2" };
    const status = { state: "ACCEPTED", observedGeneration: 1, conditions: [ready] };
    await api.kubectl(["patch", ...name, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status })]);
    await api.kubectl(["wait", "--for=condition=Ready", ...name]);
    assert.match(await api.kubectl(["get", "vm", "--all-namespaces"]), /virtual-mesh +ACCEPTED +True +2 of 2/);
    const stored = await api.kubectl(["get", ...name, "-o", "yaml", "--show-managed-fields"]);
    assert.deepEqual(parseResources(stored, "stored.yaml").problems, []);
    const written = parseResources(await readFile(new URL("examples/virtual-mesh.yaml", ROOT), "utf8"), "f");
    const read = parseResources(stored, "stored.yaml");
    assert.deepEqual(read.resources[0]?.resource.spec, written.resources[0]?.resource.spec);
  });
});
