import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { test } from "node:test";
import { decodeJwt } from "jose";
import { InClusterClient } from "../../common/kube/incluster/client.ts";
import { readConfigMap, readSecret, requestToken } from "../../common/kube/incluster/resources.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { HostPort } from "../../common/runtime/settings.ts";
import { temporaryFolder } from "../harness/folder.ts";

/** The account of all cases; its pod exists, and it has no right at the start. */
export const ACCOUNT = { namespace: "istio-system", name: "istiod" };
/** Another account, of the same namespace. */
export const OTHER = { namespace: "istio-system", name: "login" };

/** An API server: a real one, or a stand-in. */
export interface InClusterSubject extends AsyncDisposable {
  readonly apiServer: HostPort;
  readonly caPem: string;
  /** Runs as ACCOUNT. */
  readonly pod: { readonly name: string; readonly uid: string };
  /** The API server's own audience. */
  readonly audience: string;
  /** A token of ACCOUNT, bound to its pod; without an audience for the API server. */
  token(audience?: string): Promise<string>;
  /** Gives ACCOUNT one right by name. */
  grant(rule: { verb: string; resource: string; namespace: string; name: string }): Promise<void>;
  putConfigMap(namespace: string, name: string, data: Readonly<Record<string, string>>): Promise<void>;
  /** Takes values as they are. */
  putSecret(namespace: string, name: string, data: Readonly<Record<string, string>>): Promise<void>;
}

const BY = "a test";
const TOKENS = { verb: "create", resource: "serviceaccounts/token" };
const signal = AbortSignal.timeout(120_000);

/** A client as a pod has it, with that token mounted. */
async function mounted(subject: InClusterSubject, token: string) {
  const folder = await temporaryFolder();
  await writeFile(folder.file("token"), token);
  await writeFile(folder.file("ca.crt"), subject.caPem);
  const client = new InClusterClient({ apiServer: subject.apiServer, accountDir: folder.path });
  const dispose = async (): Promise<void> => {
    client.close();
    await folder[Symbol.asyncDispose]();
  };
  return { client, [Symbol.asyncDispose]: dispose };
}

async function refusalOf(work: Promise<unknown>): Promise<MeshError> {
  const error = await work.then(
    () => assert.fail("it was not refused"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof MeshError, String(error));
  return error;
}

/** What the few calls of a pod do, whoever answers them. */
export function inClusterContract(
  name: string,
  start: () => Promise<InClusterSubject>,
  options: { readonly skip?: string | false } = {},
): void {
  const contract = (what: string, run: (subject: InClusterSubject) => Promise<void>): void => {
    test(`in-cluster client - ${name}: ${what}`, options, async () => {
      await using subject = await start();
      await run(subject);
    });
  };

  contract("a missing rule is named whole, with who lacks it and what makes it", async (subject) => {
    await using pod = await mounted(subject, await subject.token());
    const { client } = pod;
    const named = (namespace: string, object: string) => ({ namespace, name: object, grantedBy: BY });
    const cases = [
      [
        () => requestToken(client, { ...ACCOUNT, grantedBy: BY }, { lifeSeconds: 600, signal }),
        'create serviceaccounts/token "istiod" in namespace istio-system',
        "create serviceaccounts/istiod --subresource=token -n istio-system",
      ],
      [
        () => readConfigMap(client, named("gloo-mesh", "enterprise-agent-ca"), signal),
        'get configmaps "enterprise-agent-ca" in namespace gloo-mesh',
        "get configmaps/enterprise-agent-ca -n gloo-mesh",
      ],
      [
        () => readSecret(client, named("gloo-mesh", "vault-token"), signal),
        'get secrets "vault-token" in namespace gloo-mesh',
        "get secrets/vault-token -n gloo-mesh",
      ],
    ] as const;
    for (const [work, rule, question] of cases) {
      const { code, message, hint, retriable } = await refusalOf(work());
      assert.deepEqual([code, retriable], ["permission_denied", true]);
      assert.equal(message, `service account istio-system/istiod may not ${rule}: the rule is made by a test`);
      assert.equal(hint, `see it with: kubectl auth can-i ${question} --as=system:serviceaccount:istio-system:istiod`);
    }
  });

  contract("a token by request has the audience, the life and the pod that were asked for", async (subject) => {
    await subject.grant({ ...TOKENS, ...ACCOUNT });
    await using pod = await mounted(subject, await subject.token());
    const account = { ...ACCOUNT, grantedBy: BY };
    const order = { audience: "enterprise-agent", lifeSeconds: 1200, pod: subject.pod, signal };
    const { token, lifeMs } = await requestToken(pod.client, account, order);
    const claims = decodeJwt(token);
    assert.deepEqual([lifeMs, claims.aud], [1_200_000, ["enterprise-agent"]]);
    assert.equal((claims.exp ?? 0) - (claims.iat ?? 0), 1200);
    assert.deepEqual((claims["kubernetes.io"] as { pod: object }).pod, subject.pod);
    const byName = await requestToken(pod.client, account, { ...order, pod: { name: subject.pod.name } });
    assert.deepEqual((decodeJwt(byName.token)["kubernetes.io"] as { pod: object }).pod, subject.pod);
    const unbound = decodeJwt((await requestToken(pod.client, account, { lifeSeconds: 600, signal })).token);
    assert.deepEqual([unbound.aud, "pod" in (unbound["kubernetes.io"] as object)], [[subject.audience], false]);
  });

  contract("a token is not bound to another pod, nor to one that came later under the name", async (subject) => {
    await subject.grant({ ...TOKENS, ...ACCOUNT });
    await using pod = await mounted(subject, await subject.token());
    const bind = (to: { name: string; uid?: string }) =>
      refusalOf(requestToken(pod.client, { ...ACCOUNT, grantedBy: BY }, { lifeSeconds: 600, pod: to, signal }));
    assert.equal((await bind({ name: "istiod-absent" })).code, "not_found");
    const later = await bind({ name: subject.pod.name, uid: "00000000-0000-4000-8000-000000000000" });
    assert.equal(later.code, "conflict");
  });

  contract("a right for one name is none for another", async (subject) => {
    await subject.grant({ ...TOKENS, ...ACCOUNT });
    await subject.grant({ verb: "get", resource: "secrets", namespace: "gloo-mesh", name: "vault-token" });
    await subject.putSecret("gloo-mesh", "other", { token: "s" });
    await using pod = await mounted(subject, await subject.token());
    const other = { ...OTHER, grantedBy: BY };
    const order = { lifeSeconds: 600, signal };
    assert.equal((await refusalOf(requestToken(pod.client, other, order))).code, "permission_denied");
    await subject.grant({ ...TOKENS, ...OTHER });
    const { token } = await requestToken(pod.client, other, order);
    assert.equal(decodeJwt(token).sub, "system:serviceaccount:istio-system:login");
    const secret = { namespace: "gloo-mesh", name: "other", grantedBy: BY };
    assert.equal((await refusalOf(readSecret(pod.client, secret, signal))).code, "permission_denied");
  });

  contract("ConfigMaps and Secrets are read by key, and an absent one is not found", async (subject) => {
    const configMap = { namespace: "gloo-mesh", name: "enterprise-agent-ca" };
    const secret = { namespace: "gloo-mesh", name: "vault-token" };
    await subject.grant({ verb: "get", resource: "configmaps", ...configMap });
    await subject.grant({ verb: "get", resource: "secrets", ...secret });
    await using pod = await mounted(subject, await subject.token());
    const read = () =>
      Promise.all([
        readConfigMap(pod.client, { ...configMap, grantedBy: BY }, signal),
        readSecret(pod.client, { ...secret, grantedBy: BY }, signal),
      ]);
    const absent = await refusalOf(read());
    assert.deepEqual([absent.code, /not found/.test(absent.message)], ["not_found", true]);
    await subject.putConfigMap("gloo-mesh", "enterprise-agent-ca", { "a.pem": "one\n", "b.pem": "two" });
    await subject.putSecret("gloo-mesh", "vault-token", { token: "hvs.x/+\n" });
    assert.deepEqual(await read(), [{ "a.pem": "one\n", "b.pem": "two" }, { token: "hvs.x/+\n" }]);
    await subject.putConfigMap("gloo-mesh", "enterprise-agent-ca", {});
    assert.deepEqual((await read())[0], {});
  });

  contract("a token of another audience is refused, and no message repeats it", async (subject) => {
    await subject.grant({ ...TOKENS, ...ACCOUNT });
    const token = await subject.token("istio-ca");
    await using pod = await mounted(subject, token);
    const error = await refusalOf(
      requestToken(pod.client, { ...ACCOUNT, grantedBy: BY }, { lifeSeconds: 600, signal }),
    );
    assert.equal(error.code, "unauthenticated");
    const told = JSON.stringify([error.message, error.hint, error.cause, error.stack]);
    assert.ok(token.split(".").every((part) => !told.includes(part)));
  });
}
