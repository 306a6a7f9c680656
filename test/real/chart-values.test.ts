import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, suite, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { parse, parseAllDocuments, stringify } from "yaml";
import { temporaryFolder, type TemporaryFolder } from "../harness/folder.ts";
import { chartFolder, CHARTS, Helm, HELM_TOOLS, type Chart } from "../harness/helm.ts";
import { skipWithout } from "../harness/needs.ts";
import { ensureTools } from "../tools/build.ts";
import { grantsOf, type Question } from "./chart-rights.ts";

const BUNDLE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const RELAY = { cluster: "cluster-1", serverAddress: "relay.example.com:9900" };
const PEER = { namespaceSelector: { matchLabels: { team: "metrics" } } };
const OWN = { name: "other", namespace: "istio-system" };

/** Values without which others would change nothing. */
const BASE: Readonly<Record<Chart, object>> = {
  "enterprise-networking": { serviceMonitor: { enabled: true } },
  "enterprise-agent": {
    relay: RELAY,
    serviceMonitor: { enabled: true },
    istiodSidecar: { createRoleBinding: true },
  },
};

/** What both charts have, by what follows the first name. */
const POD_VALUES: Readonly<Record<string, unknown>> = {
  "image.registry": "registry.example.com/mesh",
  "image.repository": "fork",
  "image.tag": `sha256:${"0".repeat(64)}`,
  "image.pullPolicy": "Always",
  "image.pullSecret": "pull",
  replicas: 2,
  serviceType: "NodePort",
  serviceAnnotations: { a: "b" },
  "ports.grpc": 19_900,
  resources: { limits: { memory: "1Gi" } },
  env: [{ name: "NODE_OPTIONS", value: "--trace-warnings" }],
  podAnnotations: { a: "b" },
  podLabels: { team: "mesh" },
  nodeSelector: { "kubernetes.io/os": "linux" },
  tolerations: [{ operator: "Exists" }],
  affinity: { podAntiAffinity: {} },
  topologySpreadConstraints: [{ maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "DoNotSchedule" }],
  priorityClassName: "system-cluster-critical",
};
const SHARED_VALUES: Readonly<Record<string, unknown>> = {
  listenHost: "::",
  defaultMetricsPort: 19_091,
  verbose: true,
  "serviceAccount.annotations": { a: "b" },
  "podDisruptionBudget.enabled": false,
  "networkPolicy.enabled": false,
  "networkPolicy.metricsFrom": [PEER],
  "serviceMonitor.enabled": false,
  "serviceMonitor.interval": "10s",
  "serviceMonitor.labels": { release: "prometheus" },
};
const below = (name: string) => Object.fromEntries(Object.entries(POD_VALUES).map(([key, v]) => [`${name}.${key}`, v]));

/** Another value for each value of values.yaml, and for those that have no default. */
const CHANGES: Readonly<Record<Chart, Readonly<Record<string, unknown>>>> = {
  "enterprise-networking": {
    ...below("enterpriseNetworking"),
    ...SHARED_VALUES,
    "enterpriseNetworking.ports.enrollment": 19_901,
    "enterpriseNetworking.nodePorts.grpc": 30_900,
    "enterpriseNetworking.nodePorts.enrollment": 30_901,
    "enterpriseNetworking.loadBalancerSourceRanges": ["192.0.2.0/24"],
    "relay.additionalSans": ["relay.example.com"],
    disableRelayCa: true,
  },
  "enterprise-agent": {
    ...below("enterpriseAgent"),
    ...SHARED_VALUES,
    "relay.cluster": "cluster-2",
    "relay.serverAddress": "[2001:db8::1]:9900",
    "relay.enrollmentAddress": "relay.example.com:443",
    "relay.authority": "relay.example.com",
    "relay.clientCertSecret.name": "own-client",
    "relay.rootTlsSecret.name": "own-root",
    "relay.tokenSecret.name": "own-token",
    "relay.tokenSecret.key": "join",
    "istiodSidecar.createRoleBinding": false,
    "istiodSidecar.istiodServiceAccount.name": "istiod-canary",
    "istiodSidecar.istiodServiceAccount.namespace": "mesh-system",
    "istiodSidecar.revisions": ["1-31-0"],
    "istiodSidecar.istiodServiceAccounts": [OWN],
    "istiodSidecar.tokenSecrets": [OWN],
    "istiodSidecar.serviceAccounts": [OWN],
    "vault.server": "https://vault.example.com:8200",
    "vault.namespace": "team",
    "vault.mountPath": "auth/cluster-1",
    "vault.caBundle": BUNDLE,
    "podBounce.enabled": false,
  },
};

/** `{ relay: { cluster: 1 } }` of `relay.cluster` and 1, merged into `target`. */
function put(target: object, path: string, value: unknown): object {
  const [name = "", ...rest] = path.split(".");
  const inner = (target as Record<string, object | undefined>)[name] ?? {};
  return { ...target, [name]: rest.length > 0 ? put(inner, rest.join("."), value) : value };
}

function leaves(value: unknown, prefix: string): string[] {
  const isMap = typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isMap || Object.keys(value).length === 0 || prefix.endsWith(".resources")) return [prefix];
  return Object.entries(value).flatMap(([name, inner]) => leaves(inner, prefix === "" ? name : `${prefix}.${name}`));
}

const MISSING = /at '\/relay': missing properties 'cluster', 'serverAddress'/;
const relay = (fields: object) => stringify({ relay: { ...RELAY, ...fields } });
const sidecar = (fields: object) => stringify({ relay: RELAY, istiodSidecar: fields });

/** Values of the agent that are refused, and what helm says. */
const REFUSED: readonly (readonly [what: string, values: string, said: RegExp])[] = [
  ["the values file that the guide overwrites", "istiodSidecar:\n  createRoleBinding: true\n", MISSING],
  ["no values", "{}", MISSING],
  ["a cluster without a server", "relay: { cluster: c }", /at '\/relay': missing property 'serverAddress'/],
  ["a text for a bool", sidecar({ createRoleBinding: "true" }), /createRoleBinding': got string, want boolean/],
  ["an unknown value", stringify({ relay: RELAY, reley: {} }), /additional properties 'reley' not allowed/],
  ["an unknown value of relay", relay({ servreAddress: "" }), /at '\/relay': additional properties 'servreAddress'/],
  [
    "the address of a load balancer that has none yet",
    relay({ serverAddress: ":9900" }),
    /serverAddress': ':9900' does/,
  ],
  ["an address without a port", relay({ serverAddress: "relay.example.com" }), /serverAddress': .* does not match/],
  ["a URL for an address", relay({ serverAddress: "https://r.example.com:9900" }), /serverAddress': .* does not match/],
  ["a name that no cluster can have", relay({ cluster: "Cluster_1" }), /at '\/relay\/cluster': 'Cluster_1' does not/],
  ["a plain relay", stringify({ relay: RELAY, global: { insecure: true } }), /at '\/global\/insecure'/],
  ["a key for a bundle", stringify({ relay: RELAY, vault: { caBundle: "-----BEGIN PRIVATE KEY-----" } }), /caBundle'/],
  [
    "Roles without their binding",
    sidecar({ tokenSecrets: [OWN] }),
    /istiodSidecar.tokenSecrets and istiodSidecar.serviceAccounts need istiodSidecar.createRoleBinding: true/,
  ],
];

suite("real helm, charts", { skip: skipWithout(HELM_TOOLS) }, () => {
  let folder: TemporaryFolder;
  let helm: Helm;
  before(async () => {
    folder = await temporaryFolder();
    helm = new Helm((await ensureTools(HELM_TOOLS)).helm, folder);
  });
  after(() => folder[Symbol.asyncDispose]());
  const render = async (chart: Chart, values: object, args: readonly string[] = []) => {
    const manifests = parseAllDocuments(await helm.template(chart, stringify(values), args));
    return manifests.map((manifest) => manifest.toJS() as unknown);
  };

  for (const chart of CHARTS) {
    test(`charts - helm finds nothing to complain about in ${chart}`, async () => {
      const report = await helm.run(["lint", "--strict", chartFolder(chart)], stringify(BASE[chart]));
      assert.match(report, /1 chart\(s\) linted, 0 chart\(s\) failed/);
      assert.doesNotMatch(report, /WARNING|ERROR/);
    });

    test(`charts - each value of ${chart} changes what is installed`, async () => {
      const values = parse(await readFile(`${chartFolder(chart)}/values.yaml`, "utf8")) as object;
      const required = Object.keys(CHANGES[chart]).filter((path) =>
        ["relay.cluster", "relay.serverAddress"].includes(path),
      );
      assert.deepEqual(Object.keys(CHANGES[chart]).sort(), [...leaves(values, ""), ...required].sort());
      const unchanged = await render(chart, BASE[chart]);
      for (const [path, value] of Object.entries(CHANGES[chart])) {
        const changed = await render(chart, put(BASE[chart], path, value));
        assert.ok(!isDeepStrictEqual(changed, unchanged), `${path} changes nothing`);
      }
    });

    test(`charts - the output of helm get values is taken by ${chart} with its first line`, async () => {
      await helm.template(chart, `USER-SUPPLIED VALUES:\n${stringify(BASE[chart])}`);
    });
  }

  test("charts - a server in another namespace names it in its certificate", async () => {
    const chart = "enterprise-networking";
    const manifests = JSON.stringify(await render(chart, {}, ["--namespace", "mesh-system"]));
    assert.match(manifests, /--relay-names=enterprise-networking.mesh-system.svc"/);
    assert.doesNotMatch(JSON.stringify(await render(chart, {})), /--relay-names=/);
  });

  test("charts - a right goes with what it is for", async () => {
    const has = async (chart: Chart, values: object, right: Partial<Question>) =>
      grantsOf(await render(chart, values)).some((given) => isDeepStrictEqual({ ...given, ...right }, given));
    const evict = { verb: "create", resource: "pods/eviction" };
    const still = { ...BASE["enterprise-agent"], podBounce: { enabled: false } };
    assert.equal(await has("enterprise-agent", BASE["enterprise-agent"], evict), true);
    assert.equal(await has("enterprise-agent", still, evict), false);
    for (const verb of ["create", "update"]) {
      const write = { verb, resource: "secrets" };
      assert.equal(await has("enterprise-networking", {}, write), true);
      assert.equal(await has("enterprise-networking", { disableRelayCa: true }, write), false);
    }
  });

  for (const [what, values, said] of REFUSED) {
    test(`charts - the agent's chart refuses ${what} and says why`, async () => {
      await assert.rejects(helm.template("enterprise-agent", values), said);
    });
  }
});
