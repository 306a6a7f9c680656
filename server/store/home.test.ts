import assert from "node:assert/strict";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../../common/runtime/clock.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { readConfig } from "../../common/runtime/config.ts";
import { adminSocketOf, checkServerConfig, serverOptions } from "../config.ts";
import { openHome } from "./home.ts";

const CONTEXT = { clock: systemClock, random: Math.random, log: silentLog };

const configOf = (flags: object) => readConfig(serverOptions, { flags: { ...flags }, env: {} });
const faultsOf = (flags: object): string => checkServerConfig(configOf(flags)).join("; ");

test("home - exactly one must be named, and an API server leaves no state on this machine", () => {
  assert.equal(faultsOf({ sourceDir: "d", stateDir: "s" }), "");
  assert.equal(faultsOf({ kubernetesInCluster: true }), "");
  assert.match(
    faultsOf({}),
    /^source\.dir, kubernetes\.inCluster and kubernetes\.kubeconfig: exactly one is needed, got 0; state\.dir: is required/,
  );
  assert.match(faultsOf({ sourceDir: "d", kubernetesKubeconfig: "f", kubernetesInCluster: true }), /got 3/);
  assert.match(faultsOf({ kubernetesKubeconfig: "f", stateDir: "s" }), /state\.dir: in kubernetes mode all state is/);
});

test("home - the admin socket lies in the state directory, or where a pod has room for it", () => {
  assert.equal(adminSocketOf(configOf({ stateDir: "s" })), "s/admin.sock");
  assert.equal(adminSocketOf(configOf({})), "/run/mesh-relay/admin.sock");
  assert.equal(adminSocketOf(configOf({ adminSocket: "a" })), "a");
});

test("home - a kubeconfig that cannot be read is named", async () => {
  const config = configOf({ kubernetesKubeconfig: "/nonexistent/kubeconfig" });
  const message = /kubeconfig \/nonexistent\/kubeconfig cannot be read: ENOENT/;
  await assert.rejects(openHome(config, CONTEXT), { code: "config_invalid", message });
});

test("home - a source directory that is not there is named before anything is served, and the state is given back", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "home-"));
  const config = configOf({ sourceDir: "/nonexistent/source", stateDir: join(folder.path, "state") });
  const message = /source directory \/nonexistent\/source cannot be read/;
  // Twice: the first attempt must not keep the lock.
  await assert.rejects(openHome(config, CONTEXT), { code: "config_invalid", message });
  await assert.rejects(openHome(config, CONTEXT), { code: "config_invalid", message });
});

test("home - in directories two agents that take turns with one identity are seen too", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "home-"));
  const config = configOf({ sourceDir: folder.path, stateDir: join(folder.path, "state") });
  const { sessions, identity, close } = await openHome(config, CONTEXT);
  try {
    for (const instance of ["agent", "clone", "agent", "clone", "agent"]) {
      assert.equal(identity.registry.clones.sightings.size, 0);
      const facts = { sessionId: instance, peer: instance, agentVersion: "1", connectedAtMs: 0 };
      await sessions.begin({ ...facts, cluster: "cluster-1" }, instance);
      await sessions.begin({ ...facts, cluster: "cluster-2" }, "agent");
    }
    assert.deepEqual([...identity.registry.clones.sightings], [["cluster-1", 1]]);
  } finally {
    await close();
  }
});
