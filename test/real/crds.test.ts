import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { parseResources } from "../../common/api/parse.ts";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { skipWithout } from "../harness/needs.ts";
import { eventually } from "../harness/wait.ts";

const ROOT = new URL("../../", import.meta.url);
/** The last short name of each kind, and the beginning of what kubectl says of it. */
const KINDS: readonly (readonly [shortName: string, kind: string, explained: RegExp])[] = [
  ["vms", "VirtualMesh", /groups service meshes that share one root/],
  ["msh", "Mesh", /one service mesh in one cluster/],
  ["kclusters", "KubernetesCluster", /registers a cluster/],
  ["issuedcerts", "IssuedCertificate", /asks for the intermediate certificate authority/],
  ["certrequests", "CertificateRequest", /asks the management server to sign/],
  ["podbounces", "PodBounceDirective", /names the pods that are restarted, in order/],
];
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

const TIME = "2036-01-01T00:00:00Z";
const condition = (type: string, status: string) => ({
  ...{ type, status, lastTransitionTime: "2026-01-01T00:00:00Z", reason: "Proved", message: "2 of 2" },
});

/** A resource by short name and group, its spec and status, and what `kubectl get -o wide` shows of it but name and age. */
const SHOWN: readonly {
  readonly what: string;
  readonly spec: object;
  readonly status: object;
  readonly shown: readonly (readonly [column: string, value: string])[];
}[] = [
  {
    what: "vms networking.mesh.gloo.solo.io/v1",
    spec: {},
    status: {
      state: "ACCEPTED",
      conditions: [condition("Ready", "True"), condition("Applied", "False"), condition("SharedRoot", "True")],
    },
    shown: [
      ["STATE", "ACCEPTED"],
      ["READY", "True"],
      ["APPLIED", "False"],
      ["SHAREDROOT", "True"],
      ["MESSAGE", "2 of 2"],
      ["CLUSTERS", "2 of 2"],
    ],
  },
  {
    what: "msh discovery.mesh.gloo.solo.io/v1",
    spec: { istio: { installation: { cluster: "cluster-1", version: "1.31.0" } } },
    status: {
      appliedVirtualMesh: { ref: { name: "virtual-mesh", namespace: "gloo-mesh" } },
      issuedCertificate: { state: "FINISHED", notAfter: TIME },
      conditions: [condition("Detached", "False")],
    },
    shown: [
      ["CLUSTER", "cluster-1"],
      ["VERSION", "1.31.0"],
      ["VIRTUALMESH", "virtual-mesh"],
      ["CERTIFICATE", "FINISHED"],
      ["EXPIRES", TIME],
      ["DETACHED", "False"],
    ],
  },
  {
    what: "kclusters multicluster.solo.io/v1alpha1",
    spec: { clusterDomain: "cluster.local" },
    status: {
      identity: { state: "ENROLLED", current: { notAfter: TIME } },
      session: { epoch: 7, connected: true, agentVersion: "0.1.0", replica: "server-0" },
    },
    shown: [
      ["IDENTITY", "ENROLLED"],
      ["CONNECTED", "true"],
      ["EXPIRES", TIME],
      ["AGENT", "0.1.0"],
      ["REPLICA", "server-0"],
      ["DOMAIN", "cluster.local"],
    ],
  },
  {
    what: "issuedcerts certificates.mesh.gloo.solo.io/v1",
    spec: { virtualMesh: { name: "virtual-mesh", namespace: "gloo-mesh" } },
    status: {
      ...{ state: "FAILED", notAfter: TIME, detached: true, error: "forbidden" },
      conditions: [condition("Ready", "False")],
    },
    shown: [
      ["STATE", "FAILED"],
      ["READY", "False"],
      ["EXPIRES", TIME],
      ["VIRTUALMESH", "virtual-mesh"],
      ["DETACHED", "true"],
      ["ERROR", "forbidden"],
    ],
  },
  {
    what: "certrequests certificates.mesh.gloo.solo.io/v1",
    spec: {},
    status: { state: "FAILED", error: "no signer" },
    shown: [
      ["STATE", "FAILED"],
      ["ERROR", "no signer"],
    ],
  },
  {
    what: "podbounces certificates.mesh.gloo.solo.io/v1",
    spec: {},
    status: { state: "BOUNCING_PODS", restarted: 2, remaining: 1, message: "waits" },
    shown: [
      ["STATE", "BOUNCING_PODS"],
      ["RESTARTED", "2"],
      ["REMAINING", "1"],
      ["MESSAGE", "waits"],
    ],
  },
];

interface KubernetesClusterDefinition {
  spec: {
    versions: [{ schema: { openAPIV3Schema: { properties: { status: { properties: { session?: object } } } } } }];
  };
}

suite("real api server, crds", { skip: skipWithout(API_SERVER_TOOLS) }, () => {
  let api: ApiServer;
  before(async () => {
    api = await startApiServer();
    await api.kubectl(["create", "namespace", "gloo-mesh"]);
    await applyCrds();
    await api.kubectl(["wait", "--for=condition=Established", "crd", "--all"]);
  });
  after(() => api[Symbol.asyncDispose]());
  const applyCrds = () => api.kubectl(["apply", "--server-side", "-f", fileURLToPath(new URL("deploy/crds", ROOT))]);

  test("real crds - the API server finds nothing to complain about in the schemas", async () => {
    const list = JSON.parse(await api.kubectl(["get", "crd", "-o", "json"])) as {
      items: { metadata: { name: string }; status: { conditions: { type: string; status: string }[] } }[];
    };
    assert.equal(list.items.length, 6);
    for (const { metadata, status } of list.items) {
      const held = status.conditions.filter((condition) => condition.status === "True").map(({ type }) => type);
      assert.deepEqual(held.sort(), ["Established", "NamesAccepted"], metadata.name);
    }
    const field = "virtualmesh.spec.mtlsConfig.shared";
    // The API server publishes a new kind's OpenAPI a little after it serves the kind.
    const explained = await eventually("kubectl explain", () => api.kubectl(["explain", field]));
    assert.match(explained, /All meshes share one root/);
  });

  for (const [shortName, kind, explained] of KINDS) {
    test(`real crds - kubectl explains ${kind} and knows it by ${shortName}`, async () => {
      const text = await eventually("kubectl explain", () => api.kubectl(["explain", shortName]));
      assert.match(text, new RegExp(`KIND: +${kind}\\n`));
      assert.match(text, explained);
    });
  }

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

  for (const { what, spec, status, shown } of SHOWN) {
    test(`real crds - kubectl get ${what} shows ${shown.map(([column]) => column).join(", ")}`, async () => {
      const [resource = "", group] = what.split(" ");
      const kind = KINDS.find(([shortName]) => shortName === resource)?.[1];
      const metadata = { name: "shown", namespace: "gloo-mesh" };
      await api.kubectl(["create", "-f", "-"], JSON.stringify({ apiVersion: group, kind, metadata, spec }));
      const name = [resource, "shown", "--namespace", "gloo-mesh"];
      await api.kubectl(["patch", ...name, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status })]);
      const [header = "", row = ""] = (await api.kubectl(["get", ...name, "-o", "wide"])).split("\n");
      const columns = [...header.matchAll(/\S+ */g)];
      const cells = columns.map(({ 0: title, index }) => [title.trim(), row.slice(index, index + title.length).trim()]);
      const { AGE, NAME, ...rest } = Object.fromEntries(cells) as Record<string, string>;
      assert.equal(NAME, "shown");
      assert.match(AGE ?? "", /^\d+s$/);
      assert.deepEqual(rest, Object.fromEntries(shown));
    });
  }

  test("real crds - applied once more they keep what is stored, and a newer schema takes the place of an older one", async () => {
    const file = new URL(`deploy/crds/multicluster.solo.io_kubernetesclusters.yaml`, ROOT);
    const older = parse(await readFile(file, "utf8")) as KubernetesClusterDefinition;
    delete older.spec.versions[0].schema.openAPIV3Schema.properties.status.properties.session;
    await api.kubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(older));
    const name = ["kubernetescluster", "shown", "--namespace", "gloo-mesh"];
    const epoch = () => api.kubectl(["get", ...name, "-o", "jsonpath={.status.session.epoch}"]);
    await eventually("the older schema", async () => (await epoch()) === "");
    await applyCrds();
    await eventually("the newer schema", async () => (await epoch()) === "7");
  });
});
