import assert from "node:assert/strict";
import { test } from "node:test";
import { BOOKINFO_NAMESPACE, fetchFrom } from "./bookinfo.ts";
import { BOOKINFO } from "./images/foreign.ts";
import { hasIstio } from "./istio.ts";
import { useClusters } from "./suite.ts";

const clusters = useClusters({ until: "bookinfo" });
const options = { skip: clusters.skip, timeout: 120_000 };

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly labels: Readonly<Record<string, string>> };
    readonly status: {
      readonly initContainerStatuses?: readonly { readonly name: string; readonly ready: boolean }[];
      readonly containerStatuses: readonly { readonly name: string; readonly ready: boolean }[];
    };
  }[];
}

test("istio - istiod and the gateway are ready, and every workload has a sidecar that is", options, async () => {
  for (const cluster of clusters.fleet().clusters) {
    assert.equal(await hasIstio(cluster), true, cluster.name);
    const { items } = await cluster.get<PodList>("pods", "--namespace", BOOKINFO_NAMESPACE);
    assert.deepEqual(items.map(({ metadata }) => metadata.labels["app"]).sort(), [...BOOKINFO].sort());
    for (const { status } of items) {
      const all = [...(status.initContainerStatuses ?? []), ...status.containerStatuses];
      const proxy = all.find(({ name }) => name === "istio-proxy");
      assert.equal(proxy?.ready, true);
    }
  }
});

test("istio - productpage reaches reviews of its own cluster through the Envoys of both", options, async () => {
  for (const cluster of clusters.fleet().clusters) {
    const answer = JSON.parse(await fetchFrom(cluster, "productpage", "http://reviews:9080/")) as object;
    const { service, cluster: answering } = answer as Record<string, string>;
    assert.deepEqual({ service, answering }, { service: "reviews", answering: cluster.name });
    const caller = await fetchFrom(cluster, "productpage", "http://reviews:9080/cgi-bin/caller");
    assert.match(caller, /URI=spiffe:\/\/cluster\.local\/ns\/bookinfo\/sa\/bookinfo-productpage/);
  }
});
