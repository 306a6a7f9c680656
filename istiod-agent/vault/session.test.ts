import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { inspect } from "node:util";
import { createRootCa, signCertificate } from "../../common/pki/authority.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { fileCredential } from "../pod/credential.ts";
import { type SessionOptions, type VaultAuth, withVault } from "./session.ts";

const TOKEN = "hvs.secret-token";
const CLAIMS = { sub: "system:serviceaccount:istio-system:istiod", aud: ["https://kubernetes.default.svc"] };
const JWT = `e30.${Buffer.from(JSON.stringify(CLAIMS)).toString("base64url")}.signature`;
const SIGN = { path: "/v1/pki/root/sign-intermediate", setting: "caPath" };

interface Call {
  readonly line: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

type Respond = (call: Call, response: ServerResponse, count: number) => void;

/** A Vault that logs everybody in with a fresh token, and leaves all else to the test. */
async function startScriptedVault(respond: Respond) {
  const calls: Call[] = [];
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const call = {
      line: `${request.method ?? ""} ${request.url ?? ""}`,
      headers: request.headers,
      body: await text(request),
    };
    calls.push(call);
    const count = calls.filter(({ line }) => line === call.line).length;
    if (call.line.endsWith("/auth/kubernetes/login")) {
      answer(response, 200, { auth: { client_token: `${TOKEN}-${count}` }, warnings: ["role has no audience"] });
    } else if (call.line.endsWith("/revoke-self")) response.writeHead(204).end();
    else respond(call, response, count);
  };
  const listener = await listen(createServer((request, response) => void handle(request, response)));
  return {
    url: `http://127.0.0.1:${listener.port}`,
    calls,
    lines: () => calls.map(({ line }) => line.replace("/v1/", "")),
    [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose](),
  };
}

/** Listens on a free loopback port until the end of the scope. */
async function listen(server: Server) {
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answer(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}

const kubernetes = (mountPath = "/v1/auth/kubernetes"): VaultAuth => ({
  kind: "kubernetes",
  mountPath,
  role: "gen-int-ca-istio",
  jwt: { name: "token file", read: () => Promise.resolve(JWT) },
});

const given: VaultAuth = { kind: "token", token: { name: "secret file", read: () => Promise.resolve(TOKEN) } };

const sign = (server: string, options: Partial<SessionOptions> = {}) =>
  withVault({ server, auth: kubernetes(), signal: new AbortController().signal, ...options }, (vault) =>
    vault.write(SIGN, { csr: "CSR" }),
  );

async function failure(promise: Promise<unknown>): Promise<MeshError> {
  const error: unknown = await promise.then(
    () => assert.fail("no error"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof MeshError, inspect(error));
  assert.doesNotMatch(inspect(error, { depth: 10 }), new RegExp(`${TOKEN}|${JWT}`));
  return error;
}

test("vault session - logs in, calls with the token and namespace, returns warnings, revokes its own token", async () => {
  await using vault = await startScriptedVault((_call, response) =>
    answer(response, 200, { data: { certificate: "PEM" }, warnings: ["ttl capped"] }),
  );
  const reply = await sign(vault.url, { namespace: "team", auth: kubernetes("auth/kubernetes/") });
  assert.deepEqual([reply.data, reply.warnings], [{ certificate: "PEM" }, ["ttl capped"]]);
  const path = "POST auth/kubernetes/login,POST pki/root/sign-intermediate,POST auth/token/revoke-self";
  assert.equal(vault.lines().join(), path);
  const [login, call, revoke] = vault.calls;
  assert.deepEqual(JSON.parse(login?.body ?? ""), { role: "gen-int-ca-istio", jwt: JWT });
  assert.equal(login?.headers["x-vault-token"], undefined);
  assert.deepEqual([call?.headers["x-vault-token"], call?.headers["x-vault-namespace"]], [`${TOKEN}-1`, "team"]);
  assert.deepEqual(JSON.parse(call?.body ?? ""), { csr: "CSR" });
  assert.equal(revoke?.headers["x-vault-token"], `${TOKEN}-1`);
});

test("vault session - a token that was given is used and not revoked, and the environment has no say", async () => {
  const names = ["VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "VAULT_PREFIX"];
  for (const name of names) process.env[name] = "http://127.0.0.1:1/evil";
  try {
    await using vault = await startScriptedVault((_call, response) => answer(response, 200, { data: {} }));
    await sign(vault.url, { auth: given });
    assert.deepEqual(vault.lines(), ["POST pki/root/sign-intermediate"]);
    const { headers } = vault.calls[0] ?? assert.fail();
    assert.deepEqual([headers["x-vault-token"], headers["x-vault-namespace"]], [TOKEN, undefined]);
  } finally {
    for (const name of names) Reflect.deleteProperty(process.env, name);
  }
});

test("vault session - a login that lacks the role's audience is told the token's own, and what to change", async () => {
  const fault = "invalid audience (aud) claim: audience claim does not match any expected audience";
  await using vault = await startScriptedVault((_call, response) => answer(response, 403, { errors: [fault] }));
  const { code, message, hint } = await failure(sign(vault.url, { auth: kubernetes("auth/strict") }));
  assert.equal(code, "vault_denied");
  assert.ok(message.endsWith(fault), message);
  assert.equal(
    hint,
    "the token is for https://kubernetes.default.svc: name that (vault write auth/strict/role/gen-int-ca-istio audience=…), " +
      "or mount a token of the role's audience and set mountedSaPath to its directory",
  );
});

test("vault session - a denied call logs in again once; denied again it names role, account and policy", async () => {
  const denied = { errors: ["1 error occurred:\n\t* permission denied\n\n"] };
  await using once403 = await startScriptedVault((_call, response, count) =>
    answer(response, count === 1 ? 403 : 200, count === 1 ? denied : { data: {} }),
  );
  await sign(once403.url);
  assert.equal(once403.calls.filter(({ line }) => line.endsWith("/login")).length, 2);
  await using always403 = await startScriptedVault((_call, response) => answer(response, 403, denied));
  const error = await failure(sign(always403.url));
  assert.equal(error.code, "vault_denied");
  assert.match(
    error.message,
    /denied POST pki\/root\/sign-intermediate to role "gen-int-ca-istio" \(service account istio-system\/istiod\): 1 error occurred: \* permission denied/,
  );
  assert.match(error.hint ?? "", /path "pki\/root\/sign-intermediate" \{ capabilities = \["update"\] \}/);
  assert.equal(always403.calls.filter(({ line }) => line.includes("sign-intermediate")).length, 2);
});

const CLASSES: readonly (readonly [number, unknown, string, boolean, RegExp])[] = [
  [400, { errors: ["csr contains no data"] }, "vault_rejected", false, /csr contains no data/],
  [404, { errors: ['no handler for route "nope/x". route entry not found.'] }, "vault_rejected", false, /nope\/x/],
  [405, { errors: ["unsupported operation"] }, "vault_rejected", false, /405: unsupported operation/],
  [412, { errors: [] }, "vault_unreachable", true, /412: no error text/],
  [429, { errors: ["rate limit quota exceeded"] }, "vault_unreachable", true, /quota/],
  [500, { errors: ["could not fetch the CA certificate"] }, "vault_unreachable", true, /could not fetch/],
  [502, "<html>bad gateway</html>", "vault_unreachable", true, /bad gateway/],
  [503, { errors: ["Vault is sealed"] }, "vault_sealed", true, /Vault is sealed/],
  [307, undefined, "vault_unreachable", true, /a redirect is not followed/],
  [200, "<html>hello</html>", "vault_malformed", false, /is not vault's json/],
];

for (const [status, body, code, retriable, message] of CLASSES) {
  test(`vault session - answer ${status} is ${code}, retriable ${retriable}`, async () => {
    await using vault = await startScriptedVault((_call, response) =>
      answer(response, status, body, { "retry-after": "7", location: "http://127.0.0.1:1/elsewhere" }),
    );
    const error = await failure(sign(vault.url));
    assert.deepEqual([error.code, error.retriable], [code, retriable]);
    assert.match(error.message, message);
    assert.ok(error.hint);
    if (status === 429) assert.equal(error.retryAfterMs, 7000);
  });
}

test("vault session - a refused login says which role and binding to write", async () => {
  for (const [status, text, code, hint] of [
    [403, "service account name not authorized", "vault_denied", /bound_service_account_names=istiod bound_/],
    [
      400,
      'invalid role name "gen-int-ca-istio"',
      "vault_rejected",
      /vault write auth\/kubernetes\/role\/gen-int-ca-istio /,
    ],
  ] as const) {
    await using vault = await listen(createServer((_, response) => answer(response, status, { errors: [text] })));
    const error = await failure(sign(`http://127.0.0.1:${vault.port}`));
    assert.equal(error.code, code);
    assert.match(error.hint ?? "", hint);
  }
});

test("vault session - silence ends at the deadline, an abort at once, a flood at 1 MiB", async () => {
  await using silent = await startScriptedVault(() => undefined);
  const late = await failure(sign(silent.url, { deadlineMs: 100 }));
  assert.deepEqual([late.code, late.retriable], ["vault_unreachable", true]);
  assert.match(late.message, /not answered within 100 ms/);
  const stop = new AbortController();
  const stopped = sign(silent.url, { signal: stop.signal, auth: given });
  setImmediate(() => stop.abort(new MeshError("canceled", "stopped by test")));
  assert.equal((await failure(stopped)).message, "stopped by test");
  await using flood = await startScriptedVault((_call, response) =>
    answer(response, 200, { data: { x: "x".repeat(2 ** 21) } }),
  );
  assert.match((await failure(sign(flood.url))).message, /over 1048576 bytes/);
});

test("vault session - nobody there is retriable, a wrong address is not", async () => {
  const vault = await startScriptedVault(() => undefined);
  await vault[Symbol.asyncDispose]();
  const error = await failure(sign(vault.url));
  assert.deepEqual([error.code, error.retriable], ["vault_unreachable", true]);
  assert.match(error.message, /connection refused/);
  for (const server of ["ftp://vault", "vault:8200", "http://user:pass@vault"]) {
    assert.equal((await failure(sign(server))).code, "invalid_argument");
  }
});

test("vault session - a private ca verifies the name of the url while --resolve leads elsewhere", async (context) => {
  const loose = { VAULT_SKIP_VERIFY: "true", NODE_TLS_REJECT_UNAUTHORIZED: "0" };
  Object.assign(process.env, loose);
  context.after(() => Object.keys(loose).forEach((name) => Reflect.deleteProperty(process.env, name)));
  const key = await generateKey({ type: "ec", curve: "P-256" });
  const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 };
  const ca = await createRootCa({ subject: { commonName: "vault ca" }, key, ...validity });
  const leaf = await signCertificate({
    issuer: { certificate: ca, key },
    subject: {},
    publicKey: key,
    dnsSans: ["vault.vault"],
    extendedKeyUsages: ["serverAuth"],
    ...validity,
  });
  const seen: unknown[] = [];
  const server = createTlsServer({ key: privateKeyToPem(key), cert: leaf.pem }, (request, response) => {
    seen.push(request.headers.host);
    answer(response, 200, { data: {} });
  });
  server.on("tlsClientError", () => undefined);
  await using listener = await listen(server);
  const { port } = listener;
  const overrides = (host: string) => [{ host, port: 8200, address: "127.0.0.1", addressPort: port }];
  const options = { auth: given, caPem: ca.pem };
  await sign("https://vault.vault:8200", { ...options, resolve: overrides("vault.vault") });
  assert.deepEqual(seen, ["vault.vault:8200"]);
  const wrongName = await failure(sign("https://other:8200", { ...options, resolve: overrides("other") }));
  assert.match(`${wrongName.message} ${wrongName.hint ?? ""}`, /vault\.vault.*caBundle/s);
  const noCa = await failure(sign("https://vault.vault:8200", { auth: given, resolve: overrides("vault.vault") }));
  assert.match(noCa.hint ?? "", /caBundle/);
  assert.equal(
    (await failure(sign("https://vault.vault:8200", { ...options, caPem: "nonsense" }))).code,
    "invalid_argument",
  );
});

test("vault session - a token file is read anew and named when it is missing or empty", async () => {
  const folder = await mkdtemp(join(tmpdir(), "credential-"));
  try {
    const path = join(folder, "token");
    const { signal } = new AbortController();
    const credential = fileCredential(path);
    assert.match((await failure(credential.read(signal))).message, /file .*token cannot be read: ENOENT/);
    await writeFile(path, "\n");
    await chmod(path, 0o600);
    const empty = await failure(credential.read(signal));
    assert.deepEqual([empty.code, empty.retriable], ["failed_precondition", true]);
    await writeFile(path, "first\n");
    assert.equal(await credential.read(signal), "first");
    await writeFile(path, "second");
    assert.equal(await credential.read(signal), "second");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("vault session - a wait that vault or a proxy asks for is never longer than five minutes", async () => {
  for (const [asked, got] of [
    ["7", 7_000],
    ["99999999", 300_000],
    ["Infinity", 300_000],
    ["tomorrow", undefined],
  ] as const) {
    await using vault = await startScriptedVault((_call, response) =>
      answer(response, 503, { errors: ["busy"] }, { "retry-after": asked }),
    );
    assert.equal((await failure(sign(vault.url, { auth: given }))).retryAfterMs, got, asked);
  }
});
