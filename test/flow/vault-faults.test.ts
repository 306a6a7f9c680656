import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createVaultRoot } from "../../demo/vault-setup.ts";
import { EC_KEY, type FlowCluster } from "./cluster.ts";
import { conditionOf, FlowMesh, isFailed, isReady, isRenewed, meshOf, replicaOf, withTtlDays } from "./mesh.ts";

interface Fault {
  readonly name: string;
  readonly break: (cluster: FlowCluster) => Promise<void>;
  /** How the error reads in the status: code, message, hint. */
  readonly told: RegExp;
  readonly mend: (cluster: FlowCluster) => Promise<void>;
  /** A fault that an operator must mend is looked at again after a minute, or with the next edit. */
  readonly needsEdit?: boolean;
}

const ROLE = "auth/kubernetes/role/gen-int-ca-istio";

/** Each is done to the Vault of cluster-1 alone. */
const FAULTS: readonly Fault[] = [
  {
    name: "sealed",
    break: (cluster) => cluster.sealVault(),
    told: /vault_sealed: vault at http:\/\/vault\.vault:8200: .* answered 503: .*sealed.* \(unseal vault: vault operator unseal\)/,
    mend: (cluster) => cluster.unsealVault(),
  },
  {
    name: "unreachable",
    break: (cluster) => cluster.stopVault(),
    told: /vault_unreachable: vault at http:\/\/vault\.vault:8200: nothing listens there .*\(check that vault runs/,
    mend: (cluster) => cluster.startVault(),
  },
  {
    name: "without the policy",
    break: (cluster) => cluster.callVault("POST", ROLE, role("default")),
    told: /vault_denied: .*role "gen-int-ca-istio" \(service account istio-system\/istiod-service-account\).*\(grant it in a policy .*path "pki_int\/intermediate\/generate\/exported" \{ capabilities = \["update"\] \}\)/,
    mend: (cluster) => cluster.callVault("POST", ROLE, role("gen-int-ca-istio")),
  },
  {
    name: "without the role",
    break: (cluster) => cluster.callVault("DELETE", ROLE),
    told: /vault_rejected: .*invalid role name.*\(make the role: vault write auth\/kubernetes\/role\/gen-int-ca-istio bound_service_account_names=istiod-service-account/,
    mend: (cluster) => cluster.callVault("POST", ROLE, role("gen-int-ca-istio")),
    needsEdit: true,
  },
  {
    name: "answering nonsense",
    async break(cluster) {
      await cluster.stopVault();
      await cluster.startImpostor();
    },
    told: /vault_malformed: vault at http:\/\/vault\.vault:8200/,
    async mend(cluster) {
      await cluster.stopVault();
      await cluster.startVault();
    },
    needsEdit: true,
  },
  {
    name: "replaced by one of another root",
    async break(cluster) {
      await cluster.stopVault();
      await cluster.startVault(await createVaultRoot("another-org", EC_KEY, Date.now()));
    },
    told: /ca_other_root: the ca of pki\/root\/sign-intermediate at http:\/\/vault\.vault:8200 ends in root [0-9a-f]{64}, want [0-9a-f]{64} \(give this cluster's vault a ca of the shared root/,
    async mend(cluster) {
      await cluster.stopVault();
      await cluster.startVault();
    },
    needsEdit: true,
  },
];

const role = (policy: string): object => ({
  bound_service_account_names: ["istiod-service-account"],
  bound_service_account_namespaces: ["istio-system"],
  policies: [policy],
});

describe("vault faults", () => {
  let mesh: FlowMesh;
  let ttlDays = 10;
  /** Changes what is wanted, so that every istiod-agent asks Vault. */
  const change = (): Promise<void> => mesh.apply(withTtlDays(++ttlDays));

  before(async () => {
    mesh = await FlowMesh.startReady();
  });
  after(() => mesh[Symbol.asyncDispose]());

  for (const fault of FAULTS) {
    it(`vault faults - ${fault.name}: said with what to do, the old certificate stays, the other cluster goes on`, async () => {
      const [one, two] = mesh.clusters;
      const [kept, other] = [await one.pod.files(), await two.pod.ca()];
      const first = await one.pod.ca();
      const [, code = ""] = /^(\w+)/.exec(fault.told.source) ?? [];
      await fault.break(one);
      await change();
      const view = await mesh.status(
        "told",
        (each) => isFailed("cluster-1", code)(each) && isRenewed("cluster-2", other)(each),
      );
      const { state, errors = [] } = meshOf(view, "cluster-1");
      assert.equal(state, "FAILED");
      assert.match(errors.join(), fault.told);
      assert.match(errors.join(), /; the certificate in force is valid until \d{4}-/);
      assert.equal(meshOf(view, "cluster-2").state, "ACCEPTED");
      assert.deepEqual([view.status.state, conditionOf(view, "Ready").status], ["FAILED", "False"]);
      assert.match(conditionOf(view, "Ready").message ?? "", new RegExp(`^1 of 2 meshes issued; .*${code}`));
      assert.equal(conditionOf(view, "SharedRoot").status, "True");
      assert.equal(replicaOf(view, "cluster-1")?.serial, first.facts.serial);
      assert.deepEqual(await one.pod.files(), kept);

      await fault.mend(one);
      if (fault.needsEdit) await change();
      const healed = await mesh.status("healed", (each) => isReady(each) && isRenewed("cluster-1", first)(each));
      assert.deepEqual(meshOf(healed, "cluster-1").errors, undefined);
      assert.equal((await one.pod.files())["root-cert.pem"], kept["root-cert.pem"]);
    });
  }

  it("vault faults - a mount without a CA: names the command that gives it one", async () => {
    await mesh.apply((yaml) => yaml.replace("pki/root/sign-intermediate", "pki_int/root/sign-intermediate"));
    const view = await mesh.status("told", (each) =>
      /was one set/.test(meshOf(each, "cluster-1").errors?.join() ?? ""),
    );
    assert.match(
      meshOf(view, "cluster-1").errors?.join() ?? "",
      /\(give mount pki_int a ca: vault write pki_int\/config\/ca pem_bundle/,
    );
    await change();
    await mesh.untilReady();
  });
});

describe("other root", () => {
  it("other root - a cluster whose Vault has another one is named with both fingerprints, and is not ACCEPTED", async () => {
    const stranger = await createVaultRoot("another-org", EC_KEY, Date.now());
    await using mesh = await FlowMesh.start({
      rootOf: async (cluster, shared) => (cluster === "cluster-2" ? stranger : shared),
    });
    const [one, two] = mesh.clusters;
    await mesh.apply();
    await one.pod.start();
    await mesh.status("cluster-1 issued", ({ status }) => status.deployedSharedTrust?.rootProvedBy === "cluster-1");
    await two.pod.start();
    const view = await mesh.status("told", (each) => conditionOf(each, "SharedRoot").status === "False");
    const [ours, theirs] = [(await one.pod.ca()).facts.rootSha256, (await two.pod.ca()).facts.rootSha256];
    assert.notEqual(ours, theirs);
    const { reason, message } = conditionOf(view, "SharedRoot");
    assert.equal(reason, "OtherRoot");
    assert.equal(message, `cluster-2 has root ${theirs}; the VirtualMesh has root ${ours}, proved first in cluster-1`);
    assert.deepEqual([meshOf(view, "cluster-1").state, meshOf(view, "cluster-2").state], ["ACCEPTED", "FAILED"]);
    assert.deepEqual([view.status.state, conditionOf(view, "Ready").reason], ["FAILED", "OtherRoot"]);
    assert.equal(view.status.deployedSharedTrust?.rootSha256, ours);
  });
});
