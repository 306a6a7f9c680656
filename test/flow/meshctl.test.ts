import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { describe, test } from "node:test";
import { identityOptions } from "../../agent/identity/options.ts";
import { messageToJson } from "../../cli/message-json.ts";
import { agentFlags } from "../../cli/register.ts";
import { createCsr } from "../../common/pki/csr.ts";
import { generateKey } from "../../common/pki/keys.ts";
import { flagOf } from "../../common/runtime/config.ts";
import { MAX_MESSAGE_BYTES } from "../../common/session/grpc.ts";
import { VirtualMeshStatus, WatchStatusResponse } from "../../proto/gen/admin/v1/admin.ts";
import { CertificateState } from "../../proto/gen/certificates/v1/certificates.ts";
import type { ServerIdentity } from "../../server/identity/identity.ts";
import { MESHCTL, runMeshctl, startAdminWorld } from "./admin-world.ts";

async function enroll({ registry }: ServerIdentity, token: string): Promise<void> {
  const key = await generateKey({ type: "ec", curve: "P-256" });
  await registry.enroll(token, await createCsr({ key }), "127.0.0.1:1");
}

/** As agents of so many clusters tell it, with one istiod each. */
function largeMesh(clusters: number): VirtualMeshStatus {
  const names = Array.from({ length: clusters }, (_, index) => `cluster-${index}`);
  const meshOf = (cluster: string): string => `istiod-istio-system-${cluster}`;
  const entries = names.map((cluster): [string, unknown] => [
    `${meshOf(cluster)}.gloo-mesh.`,
    { acceptanceOrder: 1, state: "ACCEPTED" },
  ]);
  const replica = {
    ...{ podName: "istiod-1", podNamespace: "istio-system", podUid: "7c0f3c0a-6f0c-4d57-9a6e-1f2b3c4d5e6f" },
    ...{ state: CertificateState.CERTIFICATE_STATE_FINISHED, connected: true, directory: "/etc/cacerts" },
    ...{ serial: "3f:".repeat(19) + "3f", subjectKeyId: "ab".repeat(20), issuer: "CN=istio intermediates" },
    ...{ rootSha256: Buffer.alloc(32, 1), orderVersion: Buffer.alloc(32, 2), evidence: "istiod signed with it" },
    ...{ notBefore: new Date(0), notAfter: new Date(1e12), renewAt: new Date(9e11) },
    vaultServer: "https://vault.vault.svc.cluster.local:8200",
  };
  return VirtualMeshStatus.fromPartial({
    name: { name: "vm", namespace: "gloo-mesh" },
    status: { state: "ACCEPTED", meshes: Object.fromEntries(entries) },
    clusters: names.map((cluster) => ({
      ...{ cluster, mesh: { name: meshOf(cluster), namespace: "gloo-mesh" }, connected: true, applied: true },
      certificate: { replicas: [replica] },
    })),
  });
}

describe("meshctl", () => {
  test("meshctl - registers a cluster, lists, shows and revokes it", async () => {
    await using world = await startAdminWorld();
    const nowhere = ["--token-file", world.folder.file("tokens/cluster-1.token")];
    const missing = await world.meshctl("cluster", "register", "cluster-1", ...nowhere);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /^error: the folder of --token-file is missing: .*tokens\nhint: make it/);
    assert.equal(world.identity.registry.get("cluster-1"), undefined);
    const tokenFile = world.folder.file("cluster-1.token");
    const registered = await world.meshctl("cluster", "register", "cluster-1", "--token-file", tokenFile);
    assert.deepEqual([registered.code, registered.stderr], [0, ""]);
    assert.match(registered.stdout, new RegExp(`--relay-trust-pin=${world.identity.pki.ca.trustPin}`));
    assert.doesNotMatch(registered.stdout, /rjt1\./);
    assert.equal((await stat(tokenFile)).mode & 0o777, 0o600);
    await enroll(world.identity, await readFile(tokenFile, "utf8"));

    const again = await world.meshctl("cluster", "register", "cluster-1");
    assert.equal(again.code, 1);
    assert.match(again.stderr, /^error: .*cluster-1 has an identity already\nhint: use --renew-token/);
    const renewed = await world.meshctl("cluster", "register", "cluster-1", "--renew-token", "--json");
    assert.match((JSON.parse(renewed.stdout) as { token: string }).token, /^rjt1\./);

    const [list, sessions, intent] = await Promise.all([
      world.meshctl("cluster", "list"),
      world.meshctl("relay", "sessions"),
      world.meshctl("intent", "cluster-1"),
    ]);
    assert.match(list.stdout, /^cluster-1 +ENROLLED +yes +\d{4}-/m);
    assert.match(sessions.stdout, /^cluster-1 +ENROLLED +yes +4 .*9\.9\.9/m);
    assert.match(intent.stdout, /^ic\.gloo-mesh +- +none +cdcdcdcdcdcd +no$/m);

    const revoked = await world.meshctl("cluster", "revoke", "cluster-1");
    assert.equal(revoked.stdout, "cluster cluster-1 is revoked; it was not connected\n");
    assert.equal(world.identity.registry.get("cluster-1")?.state, "REVOKED");
  });

  test("meshctl - shows the state of every istiod with its fault", async () => {
    await using world = await startAdminWorld();
    const shown = await world.meshctl("status");
    assert.match(shown.stdout, /^vm\.gloo-mesh +ACCEPTED +False +waiting$/m);
    assert.match(shown.stdout, /LAST GOOD FORM STAYS IN FORCE\nmesh\.yaml:3:1: unknown field spec\.foo$/m);
    assert.match(
      shown.stdout,
      /^cluster-1 .* yes +yes +istiod-1\.istio-system +FAILED +aa:bb +abababababab .*vault_denied: role/m,
    );
    const json = JSON.parse((await world.meshctl("status", "--json")).stdout) as { virtualMeshes: unknown[] };
    assert.equal(json.virtualMeshes.length, 1);
  });

  test("meshctl - shows the status of ten thousand clusters, which fits into no single message", async () => {
    const virtualMesh = largeMesh(10_000);
    await using world = await startAdminWorld(virtualMesh);
    const size = VirtualMeshStatus.encode(virtualMesh).finish().length;
    assert.ok(size > MAX_MESSAGE_BYTES, `${size} bytes are one message`);
    const table = await world.meshctl("status");
    assert.equal(table.stderr, "");
    assert.equal(table.stdout.match(/^cluster-\d+ .* istiod-1\.istio-system +FINISHED /gm)?.length, 10_000);
    const json = await world.meshctl("status", "--json");
    const whole = { virtualMeshes: [virtualMesh], sourceProblems: ["mesh.yaml:3:1: unknown field spec.foo"] };
    const { serverTime: _, ...shown } = JSON.parse(json.stdout) as { serverTime: string };
    assert.deepEqual(shown, messageToJson(WatchStatusResponse, WatchStatusResponse.create(whole)));
    const watched = await world.meshctl("status", "--watch");
    assert.equal(watched.stdout.match(/^VIRTUAL MESH /gm)?.length, 1);
    assert.match(watched.stdout, /^cluster-9999 .* FINISHED /m);
  });

  test("meshctl - an operator's certificate opens the relay port, loopback only reads", async () => {
    await using world = await startAdminWorld();
    const { folder } = world;
    const issued = await world.meshctl("operator", "issue", "alice", "--out-dir", folder.path);
    assert.equal(issued.code, 0, issued.stderr);
    assert.equal((await stat(folder.file("operator.key"))).mode & 0o777, 0o600);
    const certificate = ["--cert", "operator.crt", "--key", "operator.key", "--cacert", "ca.crt"].map((word) =>
      word.startsWith("--") ? word : folder.file(word),
    );
    const overRelay = ["--server", world.relay, ...certificate];
    assert.equal((await world.meshctlAt(overRelay, "cluster", "register", "cluster-1")).code, 0);
    const overLoopback = ["--server", world.loopback];
    assert.match((await world.meshctlAt(overLoopback, "cluster", "list")).stdout, /^cluster-1 +REGISTERED/m);
    const refused = await world.meshctlAt(overLoopback, "cluster", "revoke", "cluster-1");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /is not served here\nhint: changes need the admin socket/);
    const bare = await world.meshctlAt(["--server", world.relay], "cluster", "list");
    assert.match(bare.stderr, /hint: .*port 9900 wants --cert/);
  });

  test("meshctl - says what is wrong with a command line, and its version in the reference's form", async () => {
    const nowhere = await runMeshctl(["status"]);
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.stderr, /^error: which server\?.*\nhint: give --kubecontext/);
    const both = await runMeshctl(["status", "--state-dir", "x", "--kubecontext", "y"]);
    assert.deepEqual([both.code, /name two servers/.test(both.stderr)], [2, true]);
    const partial = await runMeshctl(["status", "--server", "127.0.0.1:1", "--cert", "x"]);
    assert.deepEqual([partial.code, /go together/.test(partial.stderr)], [2, true]);
    const away = await runMeshctl(["status", "--admin-socket", "/nonexistent.sock"]);
    assert.equal(away.code, 1);
    assert.match(away.stderr, /connect ENOENT \/nonexistent\.sock\nhint: check that enterprise-networking runs here/);
    const { stdout } = await runMeshctl(["version"]);
    assert.match(stdout, /^\{\n {2}"client": \{\n {4}"version": ".+"\n {2}\},\n {2}"server": null\n\}\n$/);
  });

  test("meshctl - help is of the command's own flags, and one command has those of all", async () => {
    const [help, options] = await Promise.all([runMeshctl(["status", "--help"]), runMeshctl(["options"])]);
    assert.match(help.stdout, /--watch [^]*where the server is: meshctl options$/m);
    assert.doesNotMatch(help.stdout, /--admin-socket|--cacert/);
    assert.match(options.stdout, /^--admin-socket <file> +MESH_RELAY_ADMIN_SOCKET +admin socket/m);
  });

  test("meshctl - a reader that has seen enough ends it without a word", async () => {
    await using world = await startAdminWorld(largeMesh(10_000));
    const server = ["--admin-socket", world.adminSocket];
    const child = spawn(process.execPath, [MESHCTL, "status", ...server], { stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.once("data", () => child.stdout.destroy());
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, "exit") as Promise<[number | null]>]);
    assert.deepEqual([stderr, code], ["", 0]);
  });

  test("meshctl - the flags that it prints for the agent are flags of the agent", () => {
    const known = Object.values(identityOptions).map(flagOf);
    const printed = agentFlags({ name: "c", relayServerAddress: "h:1", tokenFile: undefined }, "sha256:0");
    for (const flag of printed) assert.ok(known.includes(flag.split("=")[0] ?? ""), flag);
  });
});
