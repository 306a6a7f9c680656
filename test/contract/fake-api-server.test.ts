import { randomUUID } from "node:crypto";
import { FakeApiServer } from "../fakes/api-server.ts";
import { ACCOUNT, inClusterContract, OTHER } from "./incluster-contract.ts";

const POD = "istiod-7d9f-abcde";

inClusterContract("fake api server", async () => {
  const api = await FakeApiServer.start();
  const pod = { name: POD, uid: randomUUID() };
  const account = `${ACCOUNT.namespace}/${ACCOUNT.name}`;
  api.serviceAccounts.add(account).add(`${OTHER.namespace}/${OTHER.name}`);
  api.pods.set(`${ACCOUNT.namespace}/${POD}`, { uid: pod.uid, account });
  const encode = (text: string): string => Buffer.from(text).toString("base64");
  return {
    ...{ apiServer: api.address, caPem: api.caPem, pod, audience: api.accounts.issuer },
    token: (audience = api.accounts.issuer) =>
      api.accounts.sign({ audience, serviceAccount: ACCOUNT.name, podName: pod.name, podUid: pod.uid }),
    grant: async (rule) => api.grant({ account, ...rule }),
    putConfigMap: async (namespace, name, data) => void api.objects.set(`configmaps ${namespace}/${name}`, data),
    putSecret: async (namespace, name, data) => {
      const encoded = Object.entries(data).map(([key, text]) => [key, encode(text)] as const);
      api.objects.set(`secrets ${namespace}/${name}`, Object.fromEntries(encoded));
    },
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  };
});
