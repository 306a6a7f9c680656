import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Mesh, MeshStatus } from "../../common/api/discovery.ts";
import { checkSchema, definitionOf } from "../../common/api/schema.ts";
import { DiscoveredMesh, IngressGateway } from "../../proto/gen/discovery/v1/discovery.ts";
import { meshName, readDiscovery } from "./discovered-mesh.ts";
import { discoveredConditions, discoveryLabels, planDiscovery, type DiscoveryPlan } from "./plan.ts";

const ISTIOD = DiscoveredMesh.create({
  namespace: "istio-system",
  deployment: "istiod",
  podLabels: { app: "istiod" },
  version: "1.27.0",
  trustDomain: "cluster.local",
  serviceAccount: "istiod",
  rootNamespace: "istio-system",
  agentNamespace: "gloo-mesh",
  ingressGateways: [
    IngressGateway.create({
      name: "istio-ingressgateway",
      namespace: "istio-system",
      workloadLabels: { istio: "ingressgateway" },
      externalAddress: { $case: "ip", value: "10.0.0.1" },
      externalTlsPort: 32000,
      tlsContainerPort: 15443,
    }),
  ],
});

const BY = { cluster: "cluster-1", clusters: ["cluster-1", "cluster-2"] };

interface Report {
  readonly cluster?: string;
  readonly known?: readonly Mesh[];
}

function plan(meshes: readonly DiscoveredMesh[], { cluster = "cluster-1", known = [] }: Report = {}): DiscoveryPlan {
  const byName = new Map(known.map((mesh) => [mesh.metadata.name, mesh]));
  return planDiscovery({
    cluster,
    namespace: "gloo-mesh",
    found: readDiscovery({ meshes: [...meshes] }, { cluster, clusters: [] }),
    meshes: byName,
  });
}

/** The Mesh that the plan makes, as it is stored after it was marked. */
function made(found: DiscoveredMesh = ISTIOD, cluster = "cluster-1", status: MeshStatus = {}): Mesh {
  const [created] = plan([found], { cluster }).create;
  assert.ok(created);
  const mesh: Mesh = {
    apiVersion: "discovery.mesh.gloo.solo.io/v1",
    kind: "Mesh",
    metadata: { name: created.name, namespace: "gloo-mesh", labels: discoveryLabels(cluster, "gloo-mesh") },
    spec: created.spec,
  };
  assert.deepEqual(checkSchema(definitionOf(mesh.apiVersion, mesh.kind), mesh), []);
  return { ...mesh, status: { conditions: discoveredConditions(mesh, true, cluster, 0), ...status } };
}

const NOTHING = { create: [], update: [], mark: [], remove: [], refused: [] };

describe("discovery", () => {
  it("discovery - a mesh that was found is made under the reference's name, with what was found", () => {
    const { metadata, spec } = made();
    assert.equal(metadata.name, "istiod-istio-system-cluster-1");
    assert.deepEqual(spec, {
      istio: {
        installation: {
          namespace: "istio-system",
          cluster: "cluster-1",
          podLabels: { app: "istiod" },
          version: "1.27.0",
          deployment: "istiod",
        },
        trustDomain: "cluster.local",
        istiodServiceAccount: "istiod",
        ingressGateways: [
          {
            name: "istio-ingressgateway",
            namespace: "istio-system",
            workloadLabels: { istio: "ingressgateway" },
            ip: "10.0.0.1",
            externalTlsPort: 32000,
            tlsContainerPort: 15443,
          },
        ],
        smartDnsProxyingEnabled: false,
        rootNamespace: "istio-system",
      },
      agentInfo: { agentNamespace: "gloo-mesh" },
    });
  });

  it("discovery - the same report again asks for nothing, another one for what changed", () => {
    const mesh = made();
    assert.deepEqual(plan([ISTIOD], { known: [mesh] }), NOTHING);
    const upgraded = { ...ISTIOD, version: "1.28.0" };
    const { update, ...rest } = plan([upgraded], { known: [mesh] });
    assert.deepEqual(rest, { create: [], mark: [], remove: [], refused: [] });
    assert.deepEqual(
      update.map(({ spec }) => spec.istio?.installation?.version),
      ["1.28.0"],
    );
    assert.equal(plan([ISTIOD], { known: [{ ...mesh, status: {} }] }).mark[0]?.isFound, true);
  });

  it("discovery - what is not found any more is removed when nobody uses it, and marked when somebody does", () => {
    const unused = made();
    assert.deepEqual(plan([], { known: [unused] }).remove, [unused]);
    const uses: MeshStatus[] = [
      { appliedVirtualMesh: { ref: { name: "vm", namespace: "gloo-mesh" } } },
      { removal: { since: "2026-01-01T00:00:00Z" } },
      { issuedCertificate: { state: "FINISHED" } },
    ];
    for (const use of uses) {
      const used = made(ISTIOD, "cluster-1", use);
      const { remove, mark } = plan([], { known: [used] });
      assert.deepEqual([remove, mark], [[], [{ mesh: used, isFound: false }]]);
      const [condition] = discoveredConditions(used, false, "cluster-1", 0);
      const marked = { ...used, status: { ...used.status, conditions: condition ? [condition] : [] } };
      assert.deepEqual(plan([], { known: [marked] }), NOTHING);
      assert.deepEqual(plan([ISTIOD], { known: [marked] }).mark, [{ mesh: marked, isFound: true }]);
    }
    // Released by its VirtualMesh, with the acknowledgement still there.
    const released = made(ISTIOD, "cluster-1", { issuedCertificate: { epoch: 1 } });
    assert.deepEqual(plan([], { known: [released] }).remove, [released]);
  });

  it("discovery - an agent cannot touch another cluster's Mesh, whose name it can come to", () => {
    // deployment-namespace-cluster has no separator of its own: cluster "1" can spell the Mesh of cluster-1.
    const victim = made();
    const forged = { ...ISTIOD, namespace: "istio-system-cluster", trustDomain: "evil" };
    assert.equal(meshName(forged, { cluster: "1", clusters: [] }), victim.metadata.name);
    const attack = plan([forged], { cluster: "1", known: [victim] });
    assert.deepEqual(attack, {
      ...NOTHING,
      refused: ["Mesh istiod-istio-system-cluster-1 is of cluster cluster-1, and is left as it is"],
    });
    assert.deepEqual(plan([], { cluster: "1", known: [victim] }), NOTHING, "nor have it removed");
    // Where the victim is registered and has no Mesh yet, its name is not to be had either.
    const first = meshName(forged, { cluster: "1", clusters: ["1", "cluster-1"] });
    assert.match(first, /^istiod-istio-system-cluster-1-[0-9a-f]{10}$/);
    // Labels alone do not make a Mesh its own, nor does a spec alone.
    const { labels: _, ...bare } = victim.metadata;
    const byHand = { ...victim, metadata: bare };
    const relabelled = { ...victim, metadata: { ...bare, labels: discoveryLabels("1", "gloo-mesh") } };
    for (const known of [byHand, relabelled]) {
      const { refused, ...rest } = plan([forged], { cluster: "1", known: [known] });
      assert.deepEqual([rest, refused.length], [{ create: [], update: [], mark: [], remove: [] }, 1]);
    }
  });

  it("discovery - a Mesh that was made by hand is left as it is, also by its own cluster's agent", () => {
    const { metadata, ...rest } = made();
    const byHand = { ...rest, metadata: { name: metadata.name, namespace: "gloo-mesh" } };
    const { refused, ...planned } = plan([{ ...ISTIOD, version: "2" }], { known: [byHand] });
    assert.deepEqual(planned, { create: [], update: [], mark: [], remove: [] });
    assert.deepEqual(refused, ["Mesh istiod-istio-system-cluster-1 is made by hand, and is left as it is"]);
    assert.deepEqual(plan([], { known: [byHand] }), NOTHING);
  });

  it("discovery - what cannot be a name is refused, and the rest of the report is taken", () => {
    const bad: Partial<DiscoveredMesh>[] = [
      { namespace: "../kube-system" },
      { deployment: "Istiod" },
      { namespace: "" },
      { trustDomain: "a/b" },
      { serviceAccount: "a\nb" },
      { agentNamespace: "x".repeat(64) },
    ];
    const found = readDiscovery({ meshes: [...bad.map((each) => ({ ...ISTIOD, ...each })), ISTIOD, ISTIOD] }, BY);
    assert.deepEqual([...found.specs.keys()], ["istiod-istio-system-cluster-1"]);
    assert.equal(found.refused.length, bad.length + 1);
    assert.match(found.refused.at(-1) ?? "", /found twice/);
    assert.ok(found.refused.every((text) => !text.includes("\n")));
  });

  it("discovery - a report of any size makes Meshes of a bounded one", () => {
    const many = Array.from({ length: 1000 }, (_, index) => [`k${index}`, "v"] as const);
    const huge: DiscoveredMesh = {
      ...ISTIOD,
      podLabels: Object.fromEntries([...many, ["k".repeat(10_000), "v"], ["long", "v".repeat(10_000)]]),
      version: "v".repeat(100_000),
      ingressGateways: Array.from({ length: 1000 }, () => ISTIOD.ingressGateways[0]!),
    };
    const meshes = Array.from({ length: 200 }, (_, index) => ({ ...huge, deployment: `istiod-${index}` }));
    const { specs, refused } = readDiscovery({ meshes }, BY);
    assert.equal(specs.size, 50);
    assert.deepEqual(refused, ["200 meshes were found, at most 50 are taken"]);
    for (const spec of specs.values()) assert.ok(JSON.stringify(spec).length < 32_000);
  });

  it("discovery - a name that is too long or no name is cut to a label, and stays one of its own", () => {
    const long = { deployment: "istiod-1.27", namespace: "n".repeat(63) };
    const [one, other] = [meshName(long, BY), meshName(long, { ...BY, cluster: "cluster-2" })];
    assert.match(one, /^istiod-1-27-n+-[0-9a-f]{10}$/);
    assert.deepEqual([one.length, one === other], [63, false]);
    const short = meshName({ deployment: "istiod-1.27", namespace: "istio-system" }, BY);
    assert.equal(short, "istiod-1-27-istio-system-cluster-1");
  });
});
