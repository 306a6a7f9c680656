import { randomUUID } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { readConfig } from "../../common/runtime/config.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { istiodAgentOptions, type IstiodAgentConfig } from "../../istiod-agent/config.ts";
import { FakeApiServer } from "../fakes/api-server.ts";
import type { IstiodLinkWorld } from "./istiod-link.ts";

const NAMESPACE = "istio-system";
const SERVICE_ACCOUNT = "istiod-service-account";

/** What the chart's `istiodSidecar.createRoleBinding` grants istiod's account on this API server. */
export const CHART_GRANTS = [
  { verb: "create", resource: "serviceaccounts/token", namespace: NAMESPACE, name: SERVICE_ACCOUNT },
  { verb: "get", resource: "configmaps", namespace: "gloo-mesh", name: "enterprise-agent-ca" },
] as const;

/** A pod of istiod with what a kubelet gives it: the guide's environment, a mounted token and the API server's CA. */
export interface KubernetesPod {
  readonly name: string;
  readonly uid: string;
  readonly cacertsDir: string;
  readonly config: IstiodAgentConfig;
  /** The guide's environment and the API server's, and where this machine differs from a pod. */
  readonly env: Readonly<Record<string, string>>;
}

/** A fake API server whose tokens the world's agents and Vaults accept. */
export class KubernetesWorld implements AsyncDisposable {
  readonly api: FakeApiServer;
  readonly #world: IstiodLinkWorld;

  private constructor(api: FakeApiServer, world: IstiodLinkWorld) {
    this.api = api;
    this.#world = world;
  }

  static async start(world: IstiodLinkWorld): Promise<KubernetesWorld> {
    const api = await FakeApiServer.start(world.accounts);
    api.serviceAccounts.add(`${NAMESPACE}/${SERVICE_ACCOUNT}`);
    return new KubernetesWorld(api, world);
  }

  /** What the chart does. */
  grantChart(): void {
    for (const rule of CHART_GRANTS) this.grant(rule);
  }

  grant(rule: { verb: string; resource: string; namespace: string; name: string }): void {
    this.api.grant({ account: `${NAMESPACE}/${SERVICE_ACCOUNT}`, ...rule });
  }

  /** What each agent does at its start, under a key of its own. */
  async publishAgent(replica = "enterprise-agent-0"): Promise<void> {
    const key = "configmaps gloo-mesh/enterprise-agent-ca";
    const pem = await readFile(this.#world.agentCaFile, "utf8");
    this.api.objects.set(key, { ...this.api.objects.get(key), [`${replica}.pem`]: pem });
  }

  /** Makes a pod whose istiod-agent dials `agent` and finds Vault at `vault`. */
  async createPod(agent: string, vault: string, name = "istiod-7d9f-abcde"): Promise<KubernetesPod> {
    const uid = randomUUID();
    const account = `${NAMESPACE}/${SERVICE_ACCOUNT}`;
    this.api.pods.set(`${NAMESPACE}/${name}`, { uid, account });
    const home = this.#world.folder.file(uid);
    await mkdir(`${home}/cacerts`, { recursive: true, mode: 0o700 });
    const token = { podName: name, podUid: uid, audience: this.#world.accounts.issuer };
    await writeFileAtomic(`${home}/account/token`, await this.#world.token(token));
    await writeFileAtomic(`${home}/account/ca.crt`, this.api.caPem);
    const { host, port } = this.api.address;
    const env = {
      ...{ PILOT_CERT_PROVIDER: "istiod", POD_NAME: name, POD_NAMESPACE: NAMESPACE, SERVICE_ACCOUNT },
      ...{ KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: String(port) },
      MESH_RELAY_CACERTS_DIR: `${home}/cacerts`,
      MESH_RELAY_SERVICE_ACCOUNT_DIR: `${home}/account`,
      MESH_RELAY_AGENT_ADDRESS: agent,
      MESH_RELAY_MONITOR_LISTEN: "127.0.0.1:0",
      MESH_RELAY_ISTIOD_ADDRESS: "127.0.0.1:1",
      MESH_RELAY_RESOLVE: `vault.vault:8200:127.0.0.1:${new URL(vault).port}`,
    };
    return {
      name,
      uid,
      cacertsDir: `${home}/cacerts`,
      config: readConfig(istiodAgentOptions, { flags: {}, env }),
      env,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api[Symbol.asyncDispose]();
  }
}
