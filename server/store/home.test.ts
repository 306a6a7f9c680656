import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../common/runtime/clock.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { readConfig } from "../../common/runtime/config.ts";
import { checkServerConfig, serverOptions } from "../config.ts";
import { openHome } from "./home.ts";

const CONTEXT = { clock: systemClock, random: Math.random, log: silentLog };
const NONE = {
  sourceDir: undefined,
  sourceKubeconfig: undefined,
  sourceNamespace: undefined,
  sourcePollMs: 500,
};

const faultsOf = (given: object): string => {
  const flags = { stateDir: "s", ...given };
  return checkServerConfig(readConfig(serverOptions, { flags, env: {} })).join("; ");
};

test("home - exactly one source must be named, and a directory takes no namespace", () => {
  assert.equal(faultsOf({ sourceDir: "d" }), "");
  assert.equal(faultsOf({ sourceInCluster: true, sourceNamespace: "n" }), "");
  assert.match(faultsOf({}), /source\.kubeconfig and source\.inCluster: exactly one is needed, got 0/);
  assert.match(faultsOf({ sourceDir: "d", sourceKubeconfig: "f", sourceInCluster: true }), /got 3/);
  assert.match(faultsOf({ sourceDir: "d", sourceNamespace: "n" }), /source\.namespace: a directory has no namespaces/);
});

test("home - a kubeconfig that cannot be read is named", async () => {
  const config = { ...NONE, sourceKubeconfig: "/nonexistent/kubeconfig" };
  const message = /kubeconfig \/nonexistent\/kubeconfig cannot be read: ENOENT/;
  await assert.rejects(openHome(config, CONTEXT), { code: "config_invalid", message });
});

test("home - a source directory that is not there is named before anything is served", async () => {
  const message = /source directory \/nonexistent\/source cannot be read/;
  await assert.rejects(openHome({ ...NONE, sourceDir: "/nonexistent/source" }, CONTEXT), {
    code: "config_invalid",
    message,
  });
});
