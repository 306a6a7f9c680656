import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { readNode } from "./cluster-node.ts";
import { readGatewayService } from "./gateway-service.ts";
import { imageVersion, type Istiod, readIstiod } from "./istiod-deployment.ts";
import { readMeshConfig } from "./mesh-config.ts";
import { leftOut } from "./reading.ts";
import { type ClusterView, meshConfigKey, translate } from "./translate.ts";

const object = (kind: string, namespace: string, name: string, rest: object = {}): KubeObject => {
  const { metadata, ...others } = rest as { metadata?: object };
  return { apiVersion: "v1", kind, metadata: { namespace, name, uid: `uid-${name}`, ...metadata }, ...others };
};

const PILOT = "docker.io/istio/pilot:1.31.0";

interface Given {
  readonly namespace?: string;
  readonly image?: string;
  readonly name?: string;
  readonly env?: readonly object[];
}

const deployment = (
  name: string,
  { namespace = "istio-system", image = PILOT, ...container }: Given = {},
): KubeObject =>
  object("Deployment", namespace, name, {
    spec: {
      selector: { matchLabels: { app: "istiod" } },
      template: { spec: { serviceAccountName: "istiod", containers: [{ name: "app", image, ...container }] } },
    },
  });

const istiodOf = (given: KubeObject): Istiod => {
  const reading = readIstiod(given);
  assert.ok(reading?.kind === "read", JSON.stringify(reading));
  return reading.value;
};

const PORTS = [
  { name: "https", port: 443, targetPort: 8443, nodePort: 31443 },
  { name: "tls", port: 15443, targetPort: 15443, nodePort: 32000 },
];

const service = (name: string, spec: object = {}, rest: object = {}): KubeObject =>
  object("Service", "istio-system", name, {
    spec: { type: "NodePort", selector: { istio: "ingressgateway" }, ports: PORTS, ...spec },
    ...rest,
  });

const node = (name: string, addresses: Readonly<Record<string, string>>, rest: object = {}): KubeObject =>
  object("Node", "", name, {
    metadata: { labels: { "topology.kubernetes.io/region": "eu-1" } },
    status: {
      addresses: Object.entries(addresses).map(([type, address]) => ({ type, address })),
      conditions: [{ type: "Ready", status: "True" }],
    },
    ...rest,
  });

const meshConfig = (mesh: string, name = "istio", namespace = "istio-system"): KubeObject =>
  object("ConfigMap", namespace, name, { data: { mesh } });

interface Objects {
  readonly deployments: readonly KubeObject[];
  readonly services?: readonly KubeObject[];
  readonly nodes?: readonly KubeObject[];
  readonly configs?: readonly KubeObject[];
}

function view({ deployments, services = [], nodes = [], configs = [] }: Objects): ClusterView {
  const entries = configs.map((each) => [`${each.metadata.namespace!}/${each.metadata.name}`, readMeshConfig(each)]);
  return {
    agentNamespace: "gloo-mesh",
    deployments: deployments.flatMap((each) => readIstiod(each) ?? []),
    services: services.flatMap((each) => readGatewayService(each) ?? []),
    nodes: nodes.map(readNode),
    meshConfigs: new Map(entries as [string, ReturnType<typeof readMeshConfig>][]),
  };
}

test("discovery - the guide's istiod and gateway are reported with what other clusters need to know", () => {
  const mesh = [
    "trustDomain: mesh.example",
    "rootNamespace: istio-config",
    'defaultConfig: { proxyMetadata: { ISTIO_META_DNS_CAPTURE: "true" } }',
  ];
  const { discovery, leftOut } = translate(
    view({
      deployments: [deployment("istiod")],
      services: [service("istio-ingressgateway")],
      nodes: [node("node-1", { InternalIP: "10.200.0.11" })],
      configs: [meshConfig(mesh.join("\n"))],
    }),
  );
  assert.deepEqual(leftOut, []);
  assert.deepEqual(discovery, {
    meshes: [
      {
        namespace: "istio-system",
        deployment: "istiod",
        podLabels: { app: "istiod" },
        version: "1.31.0",
        revision: "",
        region: "eu-1",
        trustDomain: "mesh.example",
        serviceAccount: "istiod",
        ingressGateways: [
          {
            name: "istio-ingressgateway",
            namespace: "istio-system",
            workloadLabels: { istio: "ingressgateway" },
            externalAddress: { $case: "ip", value: "10.200.0.11" },
            externalTlsPort: 32000,
            tlsContainerPort: 15443,
          },
        ],
        smartDnsProxyingEnabled: true,
        rootNamespace: "istio-config",
        agentNamespace: "gloo-mesh",
      },
    ],
  });
});

test("discovery - a Deployment is an istiod by its name and its discovery container, and what is not says why", () => {
  assert.equal(readIstiod(deployment("web")), undefined);
  assert.deepEqual(
    readIstiod(deployment("istiod-tools", { image: "corp/tools:1" })),
    leftOut("Deployment istio-system/istiod-tools", "no container is named discovery or has an image of istio's pilot"),
  );
  assert.equal(readIstiod(object("Deployment", "istio-system", "istiod"))?.kind, "left out");
  assert.equal(istiodOf(deployment("istiod", { image: "corp/mirror/p:7", name: "discovery" })).version, "7");
  assert.equal(istiodOf(deployment("istiod", { image: "gcr.io/istio-release/pilot:1.10.2" })).version, "1.10.2");
});

test("discovery - the version is the image's tag, else its digest", () => {
  const versions = ["r:5000/istio/pilot", "r:5000/istio/pilot:1.2@sha256:ab", "istio/pilot@sha256:ab", ""];
  assert.deepEqual(versions.map(imageVersion), ["latest", "1.2", "sha256:ab", "latest"]);
});

test("discovery - the revision comes from istiod's environment, else its label, else its name", () => {
  const labelled = deployment("istiod-a");
  const labels = { "istio.io/rev": "b" };
  const given = [
    deployment("istiod"),
    deployment("istiod-1-30"),
    { ...labelled, metadata: { ...labelled.metadata, labels } },
    deployment("istiod-a", { env: [{ name: "REVISION", value: "c" }] }),
    deployment("istiod-a", { env: [{ name: "REVISION", value: "default" }] }),
  ].map(istiodOf);
  assert.deepEqual(
    given.map(({ revision }) => revision),
    ["", "1-30", "b", "c", ""],
  );
  assert.deepEqual(given.slice(0, 2).map(meshConfigKey), ["istio-system/istio", "istio-system/istio-1-30"]);
});

test("discovery - without its ConfigMap, or a key mesh in it, an istiod is reported with what it then takes itself", () => {
  for (const configs of [[], [object("ConfigMap", "istio-system", "istio")], [meshConfig("")], [meshConfig("{}")]]) {
    const { discovery, leftOut } = translate(view({ deployments: [deployment("istiod")], configs }));
    const [mesh] = discovery.meshes;
    assert.deepEqual([mesh?.trustDomain, mesh?.rootNamespace], ["cluster.local", "istio-system"]);
    assert.deepEqual([mesh?.smartDnsProxyingEnabled, leftOut], [false, []]);
  }
});

test("discovery - a mesh configuration that cannot be read leaves out its mesh and no other, and quotes nothing of it", () => {
  const secret = "hunter2";
  const cases: readonly [string, RegExp][] = [
    [`a: [${secret}`, /no YAML mapping/],
    [`- ${secret}`, /no YAML mapping/],
    [`trustDomain: [${secret}]`, /no text/],
    [`trustDomain: "a/${secret}"`, /SPIFFE/],
    ["a: &a [1]\nb: [" + "*a,".repeat(200) + "]", /no YAML mapping/],
  ];
  for (const [mesh, reason] of cases) {
    const { discovery, leftOut } = translate(
      view({
        deployments: [deployment("istiod"), deployment("istiod-2")],
        configs: [meshConfig(mesh), meshConfig("trustDomain: td2", "istio-2")],
      }),
    );
    assert.deepEqual(
      discovery.meshes.map(({ deployment: name, trustDomain }) => [name, trustDomain]),
      [["istiod-2", "td2"]],
    );
    assert.deepEqual([leftOut[0]?.object, leftOut.length], ["Deployment istio-system/istiod", 1]);
    assert.match(leftOut[0]?.reason ?? "", reason);
    assert.ok(!JSON.stringify(leftOut).includes(secret));
  }
});

test("discovery - several istiods are reported in order, each with the gateways of its revision and namespace", () => {
  const labels = { "istio.io/rev": "canary" };
  const inOther = service("gw-other");
  const { discovery, leftOut } = translate(
    view({
      deployments: [
        deployment("istiod-canary"),
        deployment("istiod", { namespace: "other" }),
        deployment("istiod"),
        deployment("istiod-tools", { image: "corp/tools" }),
      ],
      services: [
        service("gw-b"),
        service("gw-a"),
        service("gw-canary", {}, { metadata: { labels } }),
        service("gw-lost", { selector: { istio: "eastwestgateway", "istio.io/rev": "gone" } }),
        { ...inOther, metadata: { ...inOther.metadata, namespace: "other" } },
      ],
      nodes: [node("n", { InternalIP: "10.0.0.1" })],
    }),
  );
  assert.deepEqual(
    discovery.meshes.map(({ namespace, deployment: name, ingressGateways }) => [
      `${namespace}/${name}`,
      ingressGateways.map((gateway) => gateway.name).join(),
    ]),
    [
      ["istio-system/istiod", "gw-a,gw-b"],
      ["istio-system/istiod-canary", "gw-canary"],
      ["other/istiod", "gw-other"],
    ],
  );
  assert.deepEqual(
    leftOut.map((each) => each.object),
    ["Deployment istio-system/istiod-tools", "Service istio-system/gw-lost"],
  );
});

test("discovery - one istiod has all gateways, whatever revision they name", () => {
  const labels = { "istio.io/rev": "stable" };
  const { discovery } = translate(
    view({
      deployments: [deployment("istiod-1-30")],
      services: [service("gw", {}, { metadata: { labels } })],
      nodes: [node("n", { InternalIP: "10.0.0.1" })],
    }),
  );
  assert.equal(discovery.meshes[0]?.ingressGateways.length, 1);
});

test("discovery - a gateway's address is its load balancer's, its nodes' or an external one, or the reason why there is none", () => {
  const ingress = (...entries: object[]) => ({ status: { loadBalancer: { ingress: entries } } });
  const balanced = { type: "LoadBalancer" };
  const nodes = [
    node("b", { InternalIP: "10.0.0.2" }),
    node("a", { InternalIP: "10.0.0.1" }),
    node("0", { InternalIP: "10.0.0.9", ExternalIP: "192.0.2.9" }, { spec: { unschedulable: true } }),
  ];
  const withExternal = [...nodes, node("c", { InternalIP: "10.0.0.3", ExternalIP: "192.0.2.3" })];
  const cases: readonly [KubeObject, readonly KubeObject[], string][] = [
    [service("gw", balanced, ingress({ ip: "192.0.2.1" })), [], "192.0.2.1:15443"],
    [service("gw", balanced, ingress({ hostname: "lb.example" })), [], "lb.example:15443"],
    [service("gw", { ...balanced, externalIPs: ["192.0.2.7"] }), [], "192.0.2.7:15443"],
    [service("gw", balanced), nodes, "its load balancer has no address yet"],
    [service("gw"), nodes, "10.0.0.1:32000"],
    [service("gw"), withExternal, "192.0.2.3:32000"],
    [service("gw"), nodes.slice(2), "no ready node has an address"],
    [service("gw", { type: "ClusterIP", externalIPs: ["192.0.2.7"] }), nodes, "192.0.2.7:15443"],
    [service("gw", { type: "ClusterIP" }), nodes, "type ClusterIP without externalIPs is not reached from outside"],
    [service("gw", { ports: [{ name: "https", port: 443 }] }), nodes, "no port is named tls or is 15443"],
    [service("gw", { ports: [{ port: 15443, nodePort: 30000 }] }), nodes, "10.0.0.1:30000"],
    [
      service("gw", { ports: [{ name: "tls", port: 443, targetPort: "tls" }] }),
      nodes,
      "targetPort of port 443 is a name, not a number",
    ],
  ];
  for (const [gateway, at, expected] of cases) {
    const { discovery, leftOut } = translate(
      view({ deployments: [deployment("istiod")], services: [gateway], nodes: at }),
    );
    const [found] = discovery.meshes[0]?.ingressGateways ?? [];
    const told = found
      ? `${found.externalAddress?.value ?? ""}:${found.externalTlsPort}`
      : leftOut.map(({ reason }) => reason).join();
    assert.equal(told, expected);
  }
  assert.equal(readGatewayService(service("web", { selector: { istio: "pilot" } })), undefined);
  assert.equal(readGatewayService(service("web", { selector: undefined })), undefined);
});

test("discovery - the same objects in any order give the same report", () => {
  const deployments = ["istiod", "istiod-a", "istiod-b"].map((name) => deployment(name));
  const services = ["gw-1", "gw-2", "gw-3"].map((name) => service(name));
  const nodes = ["n1", "n2", "n3"].map((name) => node(name, { InternalIP: `10.0.0.${name.slice(1)}` }));
  const expected = translate(view({ deployments, services, nodes })).discovery;
  const any = <T>(items: readonly T[]): fc.Arbitrary<T[]> =>
    fc.shuffledSubarray([...items], { minLength: items.length });
  fc.assert(
    fc.property(any(deployments), any(services), any(nodes), (d, s, n) => {
      assert.deepEqual(translate(view({ deployments: d, services: s, nodes: n })).discovery, expected);
    }),
  );
});

test("discovery - the region is that of most nodes", () => {
  const inRegion = (name: string, region: string) =>
    node(name, {}, { metadata: { labels: { "topology.kubernetes.io/region": region } } });
  const regionOf = (nodes: readonly KubeObject[]) =>
    translate(view({ deployments: [deployment("istiod")], nodes })).discovery.meshes[0]?.region;
  assert.equal(regionOf([inRegion("1", "b"), inRegion("2", "a"), inRegion("3", "b")]), "b");
  assert.equal(regionOf([inRegion("1", "b"), inRegion("2", "a")]), "a");
  assert.equal(regionOf([]), "");
});

test("discovery - a mesh configuration that may not be read says so at its mesh", () => {
  const given = view({ deployments: [deployment("istiod")] });
  const meshConfigs = new Map([["istio-system/istio", leftOut("ConfigMap istio-system/istio", "forbidden")]]);
  assert.deepEqual(translate({ ...given, meshConfigs }).leftOut, [
    { object: "Deployment istio-system/istiod", reason: "ConfigMap istio-system/istio: forbidden" },
  ]);
});
