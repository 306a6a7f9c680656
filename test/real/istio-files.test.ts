import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { parseAllDocuments } from "yaml";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { runCommand } from "../harness/command.ts";
import { skipWithout } from "../harness/needs.ts";
import { ensureTools } from "../tools/build.ts";

const TOOLS = [...API_SERVER_TOOLS, "istioctl", "helm", "istio-files"] as const;
const IMAGE = "gcr.io/gloo-mesh/istiod-agent:1.2.3";
/** The profile without anything of ours, for patches. */
const PLAIN = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: { profile: minimal }\n";

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly restartPolicy?: string;
  readonly env: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly startupProbe?: object;
  readonly readinessProbe?: object;
  readonly livenessProbe?: object;
}
interface Deployment {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly Container[];
        readonly initContainers?: readonly Container[];
        readonly volumes: readonly {
          readonly name: string;
          readonly secret?: object | null;
          readonly emptyDir?: object;
        }[];
      };
    };
  };
}

suite("real istio charts, deploy/istio", { skip: skipWithout(TOOLS) }, () => {
  let api: ApiServer;
  let tools: Readonly<Record<(typeof TOOLS)[number], string>>;
  before(async () => {
    tools = await ensureTools(TOOLS);
    api = await startApiServer();
    await api.kubectl(["create", "namespace", "istio-system"]);
  });
  after(() => api[Symbol.asyncDispose]());

  const ours = async (file: string) => {
    const text = await readFile(new URL(`../../deploy/istio/${file}`, import.meta.url), "utf8");
    assert.match(text, /\$MGMT_PLANE_VERSION/);
    return text.replaceAll("$MGMT_PLANE_VERSION", "1.2.3");
  };
  const generated = new Map<string, Promise<string>>();
  const istioctl = (operator: string) => {
    const args = ["manifest", "generate", "-f", "-"];
    const manifests = generated.get(operator) ?? runCommand(tools.istioctl, args, { stdin: operator });
    generated.set(operator, manifests);
    return manifests;
  };
  const helm = (values: string) => {
    const chart = join(tools["istio-files"], "manifests/charts/istio-control/istio-discovery");
    return runCommand(tools.helm, ["template", "istiod", chart, "-n", "istio-system", "-f", "-"], { stdin: values });
  };
  /** Has the API server take istiod's Deployment out of these manifests, and give it back as it would store it. */
  const apply = async (manifests: string, dryRun = "server") => {
    const deployment = istiodOf(manifests);
    const args = ["apply", "--server-side", `--dry-run=${dryRun}`, "--validate=strict", "--force-conflicts"];
    const stored = await api.kubectl([...args, "-f", "-", "-o", "json"], JSON.stringify(deployment));
    return JSON.parse(stored) as Deployment;
  };
  const patch = async (file: string) => {
    await apply(await istioctl(PLAIN), "none");
    const args = ["patch", "deployment", "istiod", "-n", "istio-system", "--dry-run=server", "-o", "json"];
    return JSON.parse(await api.kubectl([...args, "--patch", await ours(file)])) as Deployment;
  };

  const cases = [
    ["istio-operator.yaml", false, async () => apply(await istioctl(await ours("istio-operator.yaml")))],
    ["istio-operator-native.yaml", true, async () => apply(await istioctl(await ours("istio-operator-native.yaml")))],
    ["istiod-patch.yaml", false, () => patch("istiod-patch.yaml")],
    ["istiod-patch-native.yaml", true, () => patch("istiod-patch-native.yaml")],
    ["istiod-values.yaml", true, async () => apply(await helm(await ours("istiod-values.yaml")))],
  ] as const;
  for (const [file, isNative, deploy] of cases) {
    test(`istio files - ${file} puts the istiod-agent beside istiod in Istio's own chart`, async () => {
      const { containers, initContainers = [], volumes } = (await deploy()).spec.template.spec;
      const [istiod, ...others] = containers;
      assert.ok(istiod?.name === "discovery");
      const agents = [...initContainers, ...others];
      const roles = agents.map(({ name, args, restartPolicy }) => [name, args.join(), restartPolicy]);
      assert.deepEqual(
        roles,
        isNative
          ? [["istiod-agent", "sidecar", "Always"]]
          : [
              ["istiod-agent-init", "init-container", undefined],
              ["istiod-agent", "sidecar", undefined],
            ],
      );
      // istiod reads there what the agents write here, in memory.
      const readsAt = istiod.env.find(({ name }) => name === "ROOT_CA_DIR")?.value ?? "/etc/cacerts";
      const volume = istiod.volumeMounts.find(({ mountPath }) => mountPath === readsAt)?.name;
      const stored = volumes.find(({ name }) => name === volume);
      assert.deepEqual(stored, { name: volume, emptyDir: { medium: "Memory" } });
      for (const agent of agents) {
        assert.equal(agent.image, IMAGE);
        assert.ok(agent.volumeMounts.some(({ name, mountPath }) => name === volume && mountPath === "/etc/cacerts"));
        assert.equal(agent.readinessProbe, undefined);
        assert.equal(agent.livenessProbe, undefined);
        assert.equal(agent.startupProbe !== undefined, isNative);
        const names = agent.env.map(({ name }) => name);
        assert.deepEqual(names, ["PILOT_CERT_PROVIDER", "POD_NAME", "POD_NAMESPACE", "SERVICE_ACCOUNT"]);
      }
    });
  }

  test("istio files - overlay and patch come to the same", async () => {
    for (const form of ["", "-native"]) {
      const overlay = await apply(await istioctl(await ours(`istio-operator${form}.yaml`)));
      const patched = await patch(`istiod-patch${form}.yaml`);
      assert.deepEqual(patched.spec.template.spec, overlay.spec.template.spec);
    }
  });
});

function istiodOf(manifests: string): Deployment {
  const all = parseAllDocuments(manifests).map((document) => document.toJS() as Deployment | null);
  const found = all.find((manifest) => manifest?.kind === "Deployment" && manifest.metadata.name === "istiod");
  assert.ok(found);
  return found;
}
