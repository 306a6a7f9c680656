import assert from "node:assert/strict";
import { test } from "node:test";
import { WatchStatusResponse } from "../proto/gen/admin/v1/admin.ts";
import { viewOf } from "./view.ts";

test("demo view - a file that is no YAML is told with the clusters that it left as they are", () => {
  const view = viewOf(
    WatchStatusResponse.fromPartial({
      virtualMeshes: [
        { name: { name: "virtual-mesh" }, status: { state: "INVALID", errors: ["virtual-mesh.yaml:6:1: no YAML"] } },
        { name: { namespace: "gloo-mesh", name: "virtual-mesh" }, clusters: [{ cluster: "cluster-1" }] },
      ],
    }),
  );
  assert.equal(view?.state, "INVALID");
  assert.deepEqual(view.errors, ["virtual-mesh.yaml:6:1: no YAML"]);
  assert.deepEqual(
    view.clusters.map(({ cluster }) => cluster),
    ["cluster-1"],
  );
});
