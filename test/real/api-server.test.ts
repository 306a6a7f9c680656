import assert from "node:assert/strict";
import { test } from "node:test";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { skipWithout } from "../harness/needs.ts";

const skip = skipWithout(API_SERVER_TOOLS);

test("real api server - reviews the token it gave to a pod that its controllers made", { skip }, async () => {
  await using api = await startApiServer();
  await api.createServiceAccount("istio-system", "istiod");
  await api.apply(deployment("istio-system", "istiod"));
  const pod = await api.podWith("istio-system", "app=istiod");
  const token = await api.createToken({ namespace: "istio-system", serviceAccount: "istiod", audience: "agent", pod });

  const { status } = await review(api, { token, audiences: ["agent"] });
  assert.equal(status.authenticated, true);
  assert.equal(status.user?.username, "system:serviceaccount:istio-system:istiod");
  assert.deepEqual(status.user.extra["authentication.kubernetes.io/pod-uid"], [pod.uid]);
  assert.notEqual((await review(api, { token, audiences: ["another"] })).status.authenticated, true);

  const header = JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()) as { kid: string };
  assert.deepEqual(
    (await api.jwks()).keys.map((key) => (key as { kid: string }).kid),
    [header.kid],
  );
});

interface TokenReview {
  readonly status: {
    readonly authenticated?: boolean;
    readonly user?: { readonly username: string; readonly extra: Readonly<Record<string, readonly string[]>> };
  };
}

async function review(api: ApiServer, spec: object): Promise<TokenReview> {
  const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec };
  return JSON.parse(await api.kubectl(["create", "-o", "json", "-f", "-"], JSON.stringify(body))) as TokenReview;
}

function deployment(namespace: string, name: string): object {
  const labels = { app: name };
  const containers = [{ name: "discovery", image: "istio/pilot" }];
  const template = { metadata: { labels }, spec: { serviceAccountName: name, containers } };
  const spec = { selector: { matchLabels: labels }, template };
  return { apiVersion: "apps/v1", kind: "Deployment", metadata: { namespace, name }, spec };
}
