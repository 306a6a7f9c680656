import { KubernetesTokenReviewer } from "../../agent/certs/kubernetes-token-reviewer.ts";
import { KubeClient } from "../../common/kube/client.ts";
import { tokenReviews } from "../../common/kube/token-review.ts";
import { tokenReviewerContract } from "../contract/token-reviewer-contract.ts";
import { API_SERVER_TOOLS, startApiServer } from "../harness/api-server.ts";
import { skipWithout } from "../harness/needs.ts";
import { istiodDeployment } from "./istiod-deployment.ts";

const ACCOUNT = { namespace: "istio-system", serviceAccount: "istiod-service-account" };

const skip = skipWithout(API_SERVER_TOOLS);

tokenReviewerContract(
  "real api server",
  async () => {
    const api = await startApiServer();
    await api.createServiceAccount(ACCOUNT.namespace, ACCOUNT.serviceAccount);
    await api.apply(istiodDeployment(ACCOUNT));
    const client = KubeClient.open(api.kubeconfig);
    const pod = await api.podWith(ACCOUNT.namespace, "app=istiod");
    return {
      reviewer: new KubernetesTokenReviewer(tokenReviews(client)),
      pod: {
        podName: pod.name,
        podUid: pod.uid,
        podNamespace: ACCOUNT.namespace,
        serviceAccount: ACCOUNT.serviceAccount,
      },
      podToken: (audience) => api.createToken({ ...ACCOUNT, pod, audience }),
      unboundToken: (audience) => api.createToken({ ...ACCOUNT, audience }),
      [Symbol.asyncDispose]: async () => {
        client.close();
        await api[Symbol.asyncDispose]();
      },
    };
  },
  { skip },
);
