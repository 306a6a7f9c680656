import { join } from "node:path";
import { decodeJwt } from "jose";
import * as z from "zod";
import type { ResourceName } from "../../proto/gen/certificates/v1/certificates.ts";
import type { InClusterClient } from "../../common/kube/incluster/client.ts";
import {
  readConfigMap,
  readSecret,
  requestToken,
  type GrantedName,
  type TokenOrder,
} from "../../common/kube/incluster/resources.ts";
import { parseCertificates } from "../../common/pki/certificate.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { LINK_AUDIENCE } from "../../common/session/link.ts";
import { CachedCredential, type Fetched } from "./cached-credential.ts";
import type { PodContext } from "./context.ts";
import { fileCredential, jwtCredential, type Credential } from "./credential.ts";
import type { PodCredentials } from "./credentials.ts";
import { everyIstiods, listed } from "./grants.ts";

export interface KubernetesCredentialOptions {
  readonly client: InClusterClient;
  readonly pod: PodContext;
  /** Directory that the kubelet keeps the pod's own token in. */
  readonly serviceAccountDir: string;
  /** Where the agents publish their certificates. */
  readonly agentNamespace: string;
  readonly clock: Clock;
}

/** Audience that istiod wants (its TOKEN_AUDIENCES). */
const ISTIOD_AUDIENCE = "istio-ca";
/** A stream to the agent lasts as long as its token. */
const LINK_LIFE_SECONDS = 3600;
/** The least that an API server gives; these are shown at once. */
const SHORT_LIFE_SECONDS = 600;

/** Where each agent publishes the certificates that verify it, under a key of its own. */
export const AGENT_CA_CONFIG_MAP = "enterprise-agent-ca";

/**
 * The pod's own credentials by its API server: tokens by TokenRequest, bound to this pod, and Secrets and ConfigMaps by
 * name. A right that is missing is named with what grants it.
 */
export function kubernetesCredentials(options: KubernetesCredentialOptions): PodCredentials {
  const { client, pod, serviceAccountDir, agentNamespace, clock } = options;
  const cached = (name: string, fetch: (signal: AbortSignal) => Promise<Fetched>): CachedCredential =>
    new CachedCredential({ name, fetch, clock });
  const ownToken = (audience: string, lifeSeconds: number): CachedCredential =>
    cached(`${audience} token of service account ${pod.podNamespace}/${pod.serviceAccount}`, async (signal) => {
      const account = everyIstiods({ namespace: pod.podNamespace, name: pod.serviceAccount }, pod);
      const bound = await boundPod(options, signal);
      return tokenOf(client, account, { audience, lifeSeconds, pod: bound, signal });
    });
  return {
    link: ownToken(LINK_AUDIENCE, LINK_LIFE_SECONDS),
    istiod: ownToken(ISTIOD_AUDIENCE, SHORT_LIFE_SECONDS),
    agentRoots: cached(`configmap ${agentNamespace}/${AGENT_CA_CONFIG_MAP}`, async (signal) => {
      const name = everyIstiods({ namespace: agentNamespace, name: AGENT_CA_CONFIG_MAP }, pod);
      return { text: await readAgentRoots(client, name, signal), lifeMs: Infinity };
    }),
    own: (key) => jwtCredential(join(serviceAccountDir, key)),
    account: (account) => accountToken(client, account),
    secret: (secret, key) => secretValue(client, secret, key),
    close: () => client.close(),
  };
}

async function tokenOf(
  client: InClusterClient,
  account: GrantedName,
  order: TokenOrder & { readonly signal: AbortSignal },
): Promise<Fetched> {
  const { token: text, lifeMs } = await requestToken(client, account, order);
  return { text, lifeMs };
}

const podClaims = z.object({
  "kubernetes.io": z.object({ pod: z.object({ name: z.string(), uid: z.string() }) }),
});

/** As the kubelet's token names the pod, with its UID: a pod of the same name that came later is another. */
async function boundPod(
  { pod, serviceAccountDir }: KubernetesCredentialOptions,
  signal: AbortSignal,
): Promise<NonNullable<TokenOrder["pod"]>> {
  const mounted = await fileCredential(join(serviceAccountDir, "token")).read(signal);
  try {
    return podClaims.parse(decodeJwt(mounted))["kubernetes.io"].pod;
  } catch {
    return { name: pod.podName };
  }
}

/** All agents' certificates in one text. What is none is left out, so that one agent's fault is not all agents'. */
async function readAgentRoots(client: InClusterClient, name: GrantedName, signal: AbortSignal): Promise<string> {
  const { namespace } = name;
  const hint = `install chart enterprise-agent in namespace ${namespace}, or name the agent's with --agent-namespace`;
  const data = await readConfigMap(client, name, signal).catch(notYet(hint));
  const pems = Object.values(data).flatMap((text) => {
    try {
      return parseCertificates(text).map(({ pem }) => pem.trim());
    } catch {
      return [];
    }
  });
  if (pems.length > 0) return `${pems.join("\n")}\n`;
  const fault = `configmap ${namespace}/${AGENT_CA_CONFIG_MAP} holds no certificate: no agent has published one`;
  throw new MeshError("failed_precondition", fault, { retriable: true, hint: "see the enterprise-agent's log" });
}

/** Bound to no pod, because only the account's own pods may be, and made anew for each login: it is shown at once. */
function accountToken(client: InClusterClient, account: ResourceName): Credential {
  const { namespace, name } = account;
  const hint = `create service account ${namespace}/${name}, or mend serviceAccountRef`;
  return {
    name: `service account ${namespace}/${name}`,
    async read(signal) {
      const order = { lifeSeconds: SHORT_LIFE_SECONDS, signal };
      return (await requestToken(client, listed(account, "serviceAccounts"), order).catch(notYet(hint))).token;
    },
  };
}

function secretValue(client: InClusterClient, secret: ResourceName, key: string): Credential {
  const what = `secret ${secret.namespace}/${secret.name}`;
  const hint = `create ${what} with the token of vault under key ${key}`;
  return {
    name: what,
    async read(signal) {
      const data = await readSecret(client, listed(secret, "tokenSecrets"), signal).catch(notYet(hint));
      const value = data[key]?.trim() ?? "";
      if (value !== "") return value;
      throw new MeshError("failed_precondition", `${what} has nothing under key "${key}"`, { retriable: true, hint });
    },
  };
}

/** For `catch`: what is missing may yet be created, in any order. */
function notYet(hint: string): (thrown: unknown) => never {
  return (thrown) => {
    if (!(thrown instanceof MeshError) || thrown.code !== "not_found") throw thrown;
    throw new MeshError(thrown.code, thrown.message, { cause: thrown.cause, retriable: true, hint });
  };
}
