import assert from "node:assert/strict";
import { test } from "node:test";
import { pruneCa, publishCa, staleKeys } from "../../agent/certs/published-ca.ts";
import { kubernetesIdentityHome } from "../../agent/identity/kubernetes-home.ts";
import { KubeClient } from "../../common/kube/client.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";
import { API_SERVER_TOOLS, startApiServer } from "../harness/api-server.ts";
import { skipWithout } from "../harness/needs.ts";

const NAMESPACE = "gloo-mesh";
const credentials = (name: string) => ({
  certificatePem: `certificate ${name}`,
  keyPem: `key ${name}`,
  trustBundlePem: `roots ${name}`,
});

test(
  "real agent secrets - identity, token and published certificates lie in the API server, and what is another's stays",
  { skip: skipWithout(API_SERVER_TOOLS) },
  async () => {
    await using api = await startApiServer();
    const kubectl = (...args: string[]) => api.kubectl([...args, "--namespace", NAMESPACE]);
    await api.kubectl(["create", "namespace", NAMESPACE]);
    const client = KubeClient.open(api.kubeconfig);
    const signal = AbortSignal.timeout(60_000);
    const home = kubernetesIdentityHome({
      ...{ client, namespace: NAMESPACE, cluster: "cluster-1", address: "localhost:9901" },
      ...{ clientCertSecret: "identity", rootTlsSecret: "roots", tokenSecret: "token", tokenSecretKey: "token" },
    });

    // Nothing is there yet; an enrolment's steps are stored, and what leaves the identity leaves the Secret.
    assert.equal(await home.document.read(), undefined);
    assert.equal(await home.tokens.read(signal), undefined);
    await assert.rejects(home.roots(undefined, signal), {
      message: "no ca.crt in secret gloo-mesh/roots",
      retriable: true,
    });
    await home.document.write({ pendingKeyPem: "pending" });
    assert.deepEqual(await home.document.read(), { pendingKeyPem: "pending" });
    const enrolled = { current: credentials("2"), previous: credentials("1"), usedTokenHash: "abc" };
    await home.document.write(enrolled);
    assert.deepEqual(await home.document.read(), enrolled);
    await home.document.write({ current: credentials("2") });
    assert.deepEqual(await home.document.read(), { current: credentials("2") });

    // A token of meshctl is deleted after use, one that was replaced or is somebody's own is not.
    await kubectl("create", "secret", "generic", "token", "--from-literal=token= join-token\n");
    const token = (await home.tokens.read(signal)) ?? assert.fail("no token");
    assert.equal(token.text, "join-token");
    await home.tokens.remove(token.hash, signal);
    assert.ok(await home.tokens.read(signal), "somebody's own");
    await kubectl("label", "secret", "token", "relay.mesh.gloo.solo.io/created-by=meshctl");
    await home.tokens.remove("of another token", signal);
    assert.ok(await home.tokens.read(signal), "another one");
    await home.tokens.remove(token.hash, signal);
    assert.equal(await home.tokens.read(signal), undefined);

    // An identity that somebody supplied is read, with the roots from beside it, and never written.
    await kubectl("delete", "secret", "identity");
    await kubectl("create", "secret", "generic", "identity", "--from-literal=tls.crt=c", "--from-literal=tls.key=k");
    await assert.rejects(home.document.read(), { message: "secret gloo-mesh/identity has no ca.crt" });
    await kubectl("create", "secret", "generic", "roots", "--from-literal=ca.crt=r");
    assert.equal(await home.roots(undefined, signal), "r");
    const supplied = { current: { certificatePem: "c", keyPem: "k", trustBundlePem: "r" }, supplied: true };
    assert.deepEqual(await home.document.read(), supplied);
    await home.document.write(supplied);
    await assert.rejects(home.document.write({ current: credentials("3") }), { code: "conflict" });
    assert.deepEqual(await home.document.read(), supplied);

    // Each replica has its own key; only those of replicas that are gone are taken away.
    const of = (replica: string) => ({ client, namespace: NAMESPACE, replica });
    await publishCa(of("agent-1"), "one", signal);
    await publishCa(of("agent-2"), "two", signal);
    await publishCa(of("agent-1"), "one anew", signal);
    await kubectl("patch", "configmap", "enterprise-agent-ca", "--type=merge", '--patch={"data":{"notes":"mine"}}');
    const published = async () =>
      JSON.parse(await kubectl("get", "configmap", "enterprise-agent-ca", "--output=json")) as KubeObject & {
        data: object;
      };
    assert.deepEqual((await published()).data, { "agent-1.pem": "one anew", "agent-2.pem": "two", notes: "mine" });
    await pruneCa(
      of(""),
      staleKeys(await published(), (replica) => replica !== "agent-2"),
      signal,
    );
    assert.deepEqual((await published()).data, { "agent-2.pem": "two", notes: "mine" });
    client.close();
  },
);
