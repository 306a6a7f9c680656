import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readConfig } from "../common/runtime/config.ts";
import { systemClock } from "../common/runtime/clock.ts";
import { agentAddressOf, istiodAgentOptions } from "./config.ts";
import { checkIstiodAgentConfig, openCredentials } from "./home.ts";

const GUIDE = {
  PILOT_CERT_PROVIDER: "istiod",
  POD_NAME: "istiod-7d9f-abcde",
  POD_NAMESPACE: "istio-system",
  SERVICE_ACCOUNT: "istiod-service-account",
};
const POD = { ...GUIDE, KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };

const configOf = (env: Readonly<Record<string, string>>, flags: object = {}) =>
  readConfig(istiodAgentOptions, { env, flags: { ...flags } });

test("home - the guide's environment is enough in a pod, and its credentials are the API server's", async () => {
  const serviceAccountDir = await mkdtemp(join(tmpdir(), "mesh-relay-"));
  try {
    const config = configOf(POD, { serviceAccountDir });
    assert.deepEqual(
      checkIstiodAgentConfig(config).map((fault) => / has no (token|ca\.crt); is automountService/.exec(fault)?.[1]),
      ["token", "ca.crt"],
    );
    for (const name of ["token", "ca.crt"]) await writeFile(join(serviceAccountDir, name), "x");
    assert.deepEqual(checkIstiodAgentConfig(config), []);
    const credentials = openCredentials(config, systemClock);
    const { link, istiod, agentRoots } = credentials;
    const account = "service account istio-system/istiod-service-account";
    assert.deepEqual(
      [link.name, istiod.name, agentRoots.name, credentials.secret({ namespace: "n", name: "s" }, "token").name],
      [
        `enterprise-agent token of ${account}`,
        `istio-ca token of ${account}`,
        "configmap gloo-mesh/enterprise-agent-ca",
        "secret n/s",
      ],
    );
    assert.equal(credentials.own("token").name, join(serviceAccountDir, "token"));
    credentials.close();
  } finally {
    await rm(serviceAccountDir, { recursive: true });
  }
});

test("home - a file that verifies the agent makes it a home of files, also in a pod", () => {
  const config = configOf(POD, { agentCaFile: "/ca.pem", serviceAccountDir: "/none" });
  assert.deepEqual(checkIstiodAgentConfig(config), []);
  const credentials = openCredentials(config, systemClock);
  assert.equal(credentials.agentRoots.name, "/ca.pem");
  assert.equal(
    credentials.secret({ namespace: "n", name: "s" }, "token").name,
    "/var/run/secrets/mesh-relay/n/s/token",
  );
});

test("home - half a home of files, and no home at all, are refused with the setting that is missing", () => {
  const half = configOf(POD, { secretsDir: "/secrets" });
  assert.deepEqual(checkIstiodAgentConfig(half), ["agent.caFile: is required where secrets.dir names files"]);
  const none = configOf(GUIDE);
  assert.match(
    checkIstiodAgentConfig(none).join(),
    /^agent\.caFile: is required outside of a pod \(\$KUBERNETES_SERVICE_HOST/,
  );
  for (const config of [half, none])
    assert.throws(() => openCredentials(config, systemClock), { code: "config_invalid" });
});

test("home - the agent is dialled in its namespace, or where a setting says", () => {
  assert.equal(agentAddressOf(configOf(POD)), "enterprise-agent.gloo-mesh:9977");
  assert.equal(agentAddressOf(configOf(POD, { agentNamespace: "mesh" })), "enterprise-agent.mesh:9977");
  assert.equal(agentAddressOf(configOf(POD, { agentNamespace: "mesh", agentAddress: "a:1" })), "a:1");
});
