import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "../common/runtime/config.ts";
import { agentOptions, checkAgentConfig } from "./config.ts";

const NEEDED = { cluster: "cluster-1", serverAddress: "server:9900" };
const faults = (flags: object): string[] =>
  checkAgentConfig(readConfig(agentOptions, { flags: { ...NEEDED, ...flags }, env: {} }));

test("agent config - one home is needed, and what the other one needs is refused", () => {
  assert.deepEqual(faults({ stateDir: "d", tokenJwksFile: "f" }), []);
  assert.deepEqual(faults({ kubernetesInCluster: true }), []);
  assert.match(faults({})[0] ?? "", /state\.dir, .* exactly one is needed, got 0/);
  assert.match(faults({ stateDir: "d", kubernetesInCluster: true })[0] ?? "", /exactly one is needed, got 2/);
  assert.deepEqual(faults({ stateDir: "d" }), ["istiod.jwksFile: is required with state.dir"]);
  const files = { tokenJwksFile: "f", istiodCaFile: "f", tokenFile: "f", trustBundleFile: "f" };
  const refused = faults({ kubernetesInCluster: true, ...files });
  assert.deepEqual(
    refused.map((fault) => fault.split(":")[0]),
    ["istiod.caFile", "istiod.jwksFile", "relay.tokenFile", "relay.trustBundleFile"],
  );
});
