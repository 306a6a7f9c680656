import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { API_SERVER_TOOLS, startApiServer, type ApiServer } from "../harness/api-server.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { forwardPort, type PortForward } from "../harness/forward.ts";
import { canIsolate, runGuideScript } from "../harness/guide-pod.ts";
import { skipBecause, skipWithout } from "../harness/needs.ts";
import { OPENSSL_TOOLS, opensslVerify } from "../harness/openssl.ts";
import { startVault, vaultTools } from "../harness/vault.ts";

const GUIDE = join(import.meta.dirname, "../fixtures/guide");
const skip = skipWithout([...API_SERVER_TOOLS, ...OPENSSL_TOOLS, ...vaultTools()]);

test(
  "guide - its vault commands, unchanged, let istiod's account and no other obtain an intermediate",
  { skip },
  async (t) => {
    if (!(await canIsolate())) return t.skip(skipBecause("the guide's commands: user namespaces are not to be had"));
    await using api = await startApiServer();
    await using forward = await servedOn443(api);
    if (!forward) return t.skip(skipBecause("the guide's commands: port 443 of 127.0.0.1 is not to be had"));
    await using vault = await startVault();
    await using folder = await temporaryFolder();
    const pod = {
      folder,
      vaultProgram: vault.program,
      accountFiles: {
        token: await api.createTokenReviewer("vault", "vault"),
        "ca.crt": await readFile(api.caFile, "utf8"),
      },
      env: { ...vault.clientEnv, KUBERNETES_PORT_443_TCP_ADDR: forward.host },
    };
    for (const script of ["make-root.sh", "install-vault.sh"]) await runGuideScript(join(GUIDE, script), pod);

    const stranger = await login(vault.address, await tokenOf(api, "default"));
    assert.equal(stranger.status, 403);
    const istiod = await login(vault.address, await tokenOf(api, "istiod-service-account"));
    assert.equal(istiod.status, 200);
    const token = istiod.body.auth?.client_token ?? "";
    const { csr = "" } = await write(`${vault.address}/v1/pki_int/intermediate/generate/exported`, token, {
      common_name: "istiod",
    });
    const { certificate = "" } = await write(`${vault.address}/v1/pki/root/sign-intermediate`, token, {
      csr,
      ttl: "720h",
    });
    await opensslVerify([certificate], await readFile(folder.file("root-cert.pem"), "utf8"));
  },
);

/** The guide has Vault call port 443; undefined where that port is taken or needs more rights than we have. */
async function servedOn443({ url }: ApiServer): Promise<PortForward | undefined> {
  const { hostname, port } = new URL(url);
  try {
    return await forwardPort({ host: hostname, port: 443 }, { host: hostname, port: Number(port) });
  } catch {
    return undefined;
  }
}

async function tokenOf(api: ApiServer, serviceAccount: string): Promise<string> {
  await api.createServiceAccount("istio-system", serviceAccount);
  return api.createToken({ namespace: "istio-system", serviceAccount });
}

interface LoginAnswer {
  readonly status: number;
  readonly body: { readonly auth?: { readonly client_token: string } };
}

async function login(address: string, jwt: string): Promise<LoginAnswer> {
  const body = JSON.stringify({ role: "gen-int-ca-istio", jwt });
  const response = await fetch(`${address}/v1/auth/kubernetes/login`, { method: "POST", body });
  return { status: response.status, body: (await response.json()) as LoginAnswer["body"] };
}

async function write(url: string, token: string, body: object): Promise<Readonly<Record<string, string>>> {
  const headers = { "X-Vault-Token": token };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  assert.equal(response.status, 200, url);
  return ((await response.json()) as { data: Record<string, string> }).data;
}
