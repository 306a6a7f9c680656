import { readFile } from "node:fs/promises";
import { after, before, suite } from "node:test";
import { ACCOUNT, inClusterContract, OTHER, type InClusterSubject } from "../contract/incluster-contract.ts";
import { API_SERVER_TOOLS, startApiServer, type ApiServer, type PodRef } from "../harness/api-server.ts";
import { skipWithout } from "../harness/needs.ts";
import { grantByName } from "./grant.ts";
import { istiodDeployment } from "./istiod-deployment.ts";

suite("real api server, in-cluster client", { skip: skipWithout(API_SERVER_TOOLS) }, () => {
  let api: ApiServer;
  let pod: PodRef;
  before(async () => {
    api = await startApiServer();
    const { namespace, name: serviceAccount } = ACCOUNT;
    for (const account of [ACCOUNT, OTHER]) await api.createServiceAccount(account.namespace, account.name);
    await api.kubectl(["create", "namespace", "gloo-mesh"]);
    await api.apply(istiodDeployment({ namespace, serviceAccount }));
    const { name, uid } = await api.podWith(namespace, "app=istiod");
    pod = { name, uid };
  });
  after(() => api[Symbol.asyncDispose]());

  inClusterContract("real api server", async (): Promise<InClusterSubject> => {
    const { hostname: host, port } = new URL(api.url);
    const { namespace, name: serviceAccount } = ACCOUNT;
    const metadata = (inNamespace: string, name: string) => ({ metadata: { namespace: inNamespace, name } });
    const granted: string[][] = [];
    return {
      ...{ apiServer: { host, port: Number(port) }, caPem: await readFile(api.caFile, "utf8"), pod },
      audience: api.issuer,
      token: (audience) =>
        api.createToken({ namespace, serviceAccount, pod, ...(audience === undefined ? {} : { audience }) }),
      grant: async (rule) => void granted.push(await grantByName(api, ACCOUNT, rule)),
      putConfigMap: (inNamespace, name, data) =>
        api.apply({ apiVersion: "v1", kind: "ConfigMap", ...metadata(inNamespace, name), data }),
      putSecret: (inNamespace, name, stringData) =>
        api.apply({ apiVersion: "v1", kind: "Secret", ...metadata(inNamespace, name), stringData }),
      async [Symbol.asyncDispose]() {
        for (const revoke of granted) await api.kubectl(revoke);
      },
    };
  });
});
