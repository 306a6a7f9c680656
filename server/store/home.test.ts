import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../../common/runtime/clock.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { openHome } from "./home.ts";

const CONTEXT = { clock: systemClock, random: Math.random, log: silentLog };
const NONE = {
  sourceDir: undefined,
  sourceKubeconfig: undefined,
  sourceInCluster: false,
  sourceNamespace: undefined,
  sourcePollMs: 500,
};

test("home - exactly one source must be named, and a directory takes no namespace", async () => {
  const cases = [
    [{}, /^0 of --source-dir, --source-kubeconfig and --source-in-cluster are given/],
    [{ sourceDir: "d", sourceKubeconfig: "f" }, /^2 of/],
    [{ sourceDir: "d", sourceKubeconfig: "f", sourceInCluster: true }, /^3 of/],
    [{ sourceDir: "d", sourceNamespace: "n" }, /--source-namespace n is given with --source-dir/],
    [{ sourceKubeconfig: "/nonexistent/kubeconfig" }, /kubeconfig \/nonexistent\/kubeconfig cannot be read: ENOENT/],
  ] as const;
  for (const [given, message] of cases) {
    await assert.rejects(openHome({ ...NONE, ...given }, CONTEXT), { code: "config_invalid", message });
  }
});
