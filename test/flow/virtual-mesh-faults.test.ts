import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  conditionOf,
  FlowMesh,
  isReady,
  isRenewed,
  meshOf,
  type MeshView,
  virtualMeshYaml,
  withTtlDays,
} from "./mesh.ts";

type Edit = (yaml: string) => string;

interface Mistake {
  readonly name: string;
  readonly edit: Edit;
  /** In errors[]: file, line, path and reason. */
  readonly told: RegExp;
}

const OTHER_VIRTUAL_MESH = "other-virtual-mesh";

const inCa = (line: string): Edit => {
  return (yaml) =>
    yaml.replace("intermediateCertificateAuthority:", `${line}\n      intermediateCertificateAuthority:`);
};

/** Mistakes for which the whole VirtualMesh is refused. */
const MISTAKES: readonly Mistake[] = [
  {
    name: "yaml syntax",
    edit: (yaml) => yaml.replace("  meshes:", "  meshes: ["),
    told: /^virtual-mesh\.yaml:28:\d+: flow sequence/,
  },
  {
    name: "unknown field",
    edit: (yaml) => yaml.replace("caPath:", "caPat:"),
    told: /^virtual-mesh\.yaml:15:\d+: .*caPat/,
  },
  {
    name: "wrong type",
    edit: withTtlDays("ten" as unknown as number),
    told: /^virtual-mesh\.yaml:12:\d+: spec\.mtlsConfig\.shared\.intermediateCertOptions\.ttlDays: is "ten", must be a whole number/,
  },
  {
    name: "both authorities",
    edit: inCa("rootCertificateAuthority: {generated: {}}"),
    told: /^virtual-mesh\.yaml:\d+:\d+: spec\.mtlsConfig\.shared.*rootCertificateAuthority/,
  },
  {
    name: "neither authority",
    edit: (yaml) => yaml.replace(/ {6}intermediateCertificateAuthority:[^]*(?= {2}federation:)/, ""),
    told: /^virtual-mesh\.yaml:\d+:\d+: spec\.mtlsConfig\.shared.*rootCertificateAuthority/,
  },
  {
    name: "limited trust",
    edit: (yaml) => yaml.replace(/ {4}shared:[^]*(?= {2}federation:)/, "    limited: {}\n"),
    told: /^virtual-mesh\.yaml:9:\d+: spec\.mtlsConfig\.limited: limited trust is not supported \(use shared\)/,
  },
  {
    name: "csrPath that keeps the key",
    edit: (yaml) => yaml.replace("generate/exported", "generate/internal"),
    told: /^virtual-mesh\.yaml:\d+:\d+: spec\..*\.csrPath:? .*keeps the key inside vault.*istiod needs the key/,
  },
  {
    name: "no login",
    edit: (yaml) => yaml.replace(/ +kubernetesAuth:\n.*\n/, ""),
    told: /^virtual-mesh\.yaml:\d+:\d+: spec\..*kubernetesAuth or tokenSecretRef is required/,
  },
];

describe("virtual mesh faults", () => {
  let mesh: FlowMesh;
  let generation = 1;
  before(async () => {
    mesh = await FlowMesh.startReady();
  });
  after(() => mesh[Symbol.asyncDispose]());

  const wanted = async (): Promise<unknown> =>
    Promise.all(["cluster-1", "cluster-2"].map(async (name) => (await mesh.intent(name)).wantedDigest));
  const isRefused = ({ status }: MeshView): boolean => status.state === "INVALID";
  const heal = async (): Promise<MeshView> => {
    await mesh.apply();
    return mesh.status("healed", isReady);
  };

  for (const { name, edit, told } of MISTAKES) {
    it(`virtual mesh faults - ${name}: refused at its line, and what was good stays in force`, async () => {
      const before = [await wanted(), await mesh.clusters[0].pod.files(), await mesh.clusters[1].pod.files()];
      await mesh.apply(edit);
      const view = await mesh.status("refused", ({ status }) => told.test(status.errors?.[0] ?? ""));
      assert.equal(view.status.state, "INVALID");
      assert.equal(view.status.observedGeneration, generation + 1);
      const accepted = conditionOf(view, "Accepted");
      assert.deepEqual([accepted.status, accepted.reason], ["False", "Invalid"]);
      assert.match(accepted.message ?? "", new RegExp(`generation ${generation} stays in force$`));
      for (const cluster of ["cluster-1", "cluster-2"]) {
        const { state, errors } = meshOf(view, cluster);
        assert.equal(state, "INVALID");
        assert.match(errors?.[0] ?? "", new RegExp(`refused, generation ${generation} stays in force`));
      }
      assert.deepEqual(
        [await wanted(), await mesh.clusters[0].pod.files(), await mesh.clusters[1].pod.files()],
        before,
      );
      const healed = await heal();
      assert.deepEqual([healed.status.errors, healed.status.observedGeneration], [undefined, generation]);
    });
  }

  it("virtual mesh faults - the last good intent survives a restart of the server while the edit is refused", async () => {
    const before = await wanted();
    await mesh.apply((yaml) => yaml.replace("caPath:", "caPat:"));
    const view = await mesh.status("refused", isRefused);
    await mesh.server.stop();
    await mesh.startServer();
    const again = await mesh.status("refused again", (each) => {
      return isRefused(each) && each.clusters.every(({ connected }) => connected);
    });
    assert.deepEqual(again.status.errors, view.status.errors);
    assert.deepEqual(again.status.deployedSharedTrust, view.status.deployedSharedTrust);
    assert.deepEqual(await wanted(), before);
    await heal();
  });

  it("virtual mesh faults - a file of which nothing can be read: it is named, and nothing is removed", async () => {
    const before = await wanted();
    await mesh.writeSource("virtual-mesh.yaml", "{[ oops\n");
    const view = await mesh.status("missing", ({ status }) => status.state === "FAILED");
    assert.match(view.sourceProblems.join(), /^virtual-mesh\.yaml:\d+:\d+: /);
    assert.match(
      view.status.errors?.join() ?? "",
      /missing from its source, generation 1 stays in force.*,virtual-mesh\.yaml:\d+:\d+: /,
    );
    assert.equal(conditionOf(view, "Accepted").reason, "SourceMissing");
    assert.deepEqual(await wanted(), before);
    await heal();
  });

  it("virtual mesh faults - a reference to nothing: said at that mesh, the others follow the edit", async () => {
    const [one, two] = [await mesh.clusters[0].pod.ca(), await mesh.clusters[1].pod.ca()];
    const edit = withTtlDays(20);
    await mesh.apply((yaml) => edit(yaml).replace("- name: istiod-istio-system-cluster-2", "- name: no-such-mesh"));
    const view = await mesh.status(
      "told",
      (each) => isRenewed("cluster-1", one)(each) && isRenewed("cluster-2", two)(each),
    );
    const missing = view.status.meshes?.["no-such-mesh.gloo-mesh."];
    assert.equal(missing?.state, "PENDING");
    assert.match(
      missing.errors?.join() ?? "",
      /^virtual-mesh\.yaml:\d+:\d+: spec\.meshes\[1\]: Mesh gloo-mesh\/no-such-mesh does not exist yet/,
    );
    assert.equal(meshOf(view, "cluster-1").state, "ACCEPTED");
    assert.match(meshOf(view, "cluster-2").warnings?.join() ?? "", /not listed any more; stays in force until/);
    assert.equal(conditionOf(view, "Accepted").reason, "PartlyAccepted");
    await mesh.apply(edit);
    generation = (await mesh.untilReady()).status.observedGeneration ?? 0;
  });

  it("virtual mesh faults - a mesh in two VirtualMeshes stays with the first, the second one is told", async () => {
    const before = await wanted();
    const both = (await virtualMeshYaml()).replace("name: virtual-mesh", `name: ${OTHER_VIRTUAL_MESH}`);
    await mesh.writeSource(`${OTHER_VIRTUAL_MESH}.yaml`, both);
    const other = await mesh.status("told", isRefused, OTHER_VIRTUAL_MESH);
    assert.match(
      meshOf(other, "cluster-1").errors?.join() ?? "",
      /Includes a Mesh \(istiod-istio-system-cluster-1\.gloo-mesh\) that already is grouped in a VirtualMesh \(virtual-mesh\.gloo-mesh\)/,
    );
    const first = await mesh.status("unharmed", isReady);
    assert.equal(first.status.errors, undefined);
    assert.deepEqual(await wanted(), before);
  });
});

describe("virtual mesh faults beside a good one", () => {
  it("virtual mesh faults - while one VirtualMesh is refused, another one goes on", async () => {
    await using mesh = await FlowMesh.start();
    const [one, two] = mesh.clusters;
    const only = (cluster: number): Edit => {
      const other = new RegExp(` {2}- name: istiod-istio-system-cluster-${3 - cluster}\\n.*\\n?`);
      return (yaml) => yaml.replace("name: virtual-mesh", `name: vm-${cluster}`).replace(other, "");
    };
    await mesh.apply(only(1), "vm-1.yaml");
    await mesh.apply(only(2), "vm-2.yaml");
    await Promise.all([one.pod.start(), two.pod.start()]);
    await mesh.status("vm-1 ready", isReady, "vm-1");
    await mesh.status("vm-2 ready", isReady, "vm-2");
    const [kept, old] = [await one.pod.files(), await two.pod.ca()];
    await mesh.apply((yaml) => only(1)(yaml).replace("caPath:", "caPat:"), "vm-1.yaml");
    await mesh.status("vm-1 refused", ({ status }) => status.state === "INVALID", "vm-1");
    await mesh.apply((yaml) => withTtlDays(20)(only(2)(yaml)), "vm-2.yaml");
    await mesh.status("vm-2 follows", (view) => isReady(view) && isRenewed("cluster-2", old)(view), "vm-2");
    assert.deepEqual(await one.pod.files(), kept);
  });
});
