import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createRootCa, signCertificate, type Authority } from "../../pki/authority.ts";
import { generateKey, privateKeyToPem } from "../../pki/keys.ts";
import { MeshError } from "../../runtime/errors.ts";
import { InClusterClient, type InClusterOptions } from "./client.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const DAY_MS = 86_400_000;
const TOKEN = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0LWNsYWltcw.c2VjcmV0LXNpZ25hdHVyZQ";
const REQUEST = { what: "get a thing", method: "GET", path: "/api/v1/thing" } as const;
const never = new AbortController().signal;

const validity = () => ({ notBeforeMs: Date.now() - DAY_MS, notAfterMs: Date.now() + DAY_MS });

async function authority(): Promise<Authority> {
  const key = await generateKey(EC);
  return { key, certificate: await createRootCa({ subject: { commonName: "kubernetes" }, key, ...validity() }) };
}

async function servingPems(issuer: Authority, ip = "127.0.0.1"): Promise<{ key: string; cert: string }> {
  const key = await generateKey(EC);
  const leaf = await signCertificate({ issuer, subject: {}, publicKey: key, ipSans: [ip], ...validity() });
  return { key: privateKeyToPem(key), cert: leaf.pem };
}

/** An API server that answers as the test says, and a pod that has its CA and TOKEN mounted. */
async function world(
  serve: (request: IncomingMessage, response: ServerResponse) => void,
  options: Partial<InClusterOptions> = {},
) {
  const issuer = await authority();
  const server = createServer(await servingPems(issuer), serve);
  let connections = 0;
  server.on("secureConnection", () => (connections += 1));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accountDir = await mkdtemp(join(tmpdir(), "mesh-relay-"));
  const mount = (name: "token" | "ca.crt", text: string): Promise<void> => writeFile(join(accountDir, name), text);
  await mount("token", `${TOKEN}\n`);
  await mount("ca.crt", issuer.certificate.pem);
  const { port } = server.address() as AddressInfo;
  const client = new InClusterClient({ apiServer: { host: "127.0.0.1", port }, accountDir, ...options });
  return {
    client,
    server,
    mount,
    accountDir,
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      client.close();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
      await rm(accountDir, { recursive: true });
    },
  };
}

const ok = (response: ServerResponse): void => void response.end('{"ok":true}');

async function faultOf(work: Promise<unknown>): Promise<MeshError> {
  const error = await work.then(
    () => assert.fail("it did not fail"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof MeshError, String(error));
  const told = JSON.stringify([error.message, error.hint, error.cause, error.stack]);
  for (const part of TOKEN.split(".")) assert.ok(!told.includes(part), `the error repeats the token: ${told}`);
  return error;
}

test("in-cluster client - the token of the moment is shown, over one kept connection", async () => {
  const shown: unknown[] = [];
  await using pod = await world((request, response) => {
    shown.push(request.headers.authorization);
    ok(response);
  });
  assert.deepEqual(await pod.client.call(REQUEST, never), { ok: true });
  await pod.mount("token", "replaced");
  await pod.client.call({ ...REQUEST, method: "POST", body: { spec: {} } }, never);
  assert.deepEqual(shown, [`Bearer ${TOKEN}`, "Bearer replaced"]);
  assert.equal(pod.connections(), 1);
});

test("in-cluster client - a CA that is replaced counts at the next request, and verifies whatever the environment says", async () => {
  await using pod = await world((_, response) => ok(response));
  await pod.client.call(REQUEST, never);
  const next = await authority();
  pod.server.setSecureContext(await servingPems(next));
  await pod.mount("ca.crt", next.certificate.pem);
  assert.deepEqual(await pod.client.call(REQUEST, never), { ok: true });
  await pod.mount("ca.crt", (await authority()).certificate.pem);
  const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
  process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
  try {
    const { code, hint } = await faultOf(pod.client.call(REQUEST, never));
    assert.deepEqual([code, /ca\.crt/.test(hint ?? "")], ["unavailable", true]);
  } finally {
    if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = before;
  }
  pod.server.setSecureContext(await servingPems(next, "127.0.0.2"));
  await pod.mount("ca.crt", next.certificate.pem);
  pod.server.closeAllConnections();
  assert.equal((await faultOf(pod.client.call(REQUEST, never))).code, "unavailable");
});

test("in-cluster client - silence ends at the deadline, an abort at once, and a flood at the cap", async () => {
  await using silent = await world(() => undefined, { deadlineMs: 50 });
  assert.equal((await faultOf(silent.client.call(REQUEST, never))).code, "deadline_exceeded");
  await using patient = await world(() => undefined);
  const stop = new AbortController();
  const waiting = patient.client.call(REQUEST, stop.signal);
  await once(patient.server, "request");
  stop.abort(new MeshError("canceled", "stopped by the test"));
  await assert.rejects(waiting, { message: "stopped by the test" });
  await using flooding = await world((_, response) => {
    response.on("drain", () => response.write("x".repeat(65_536)));
    response.write("x".repeat(65_536));
  });
  assert.match((await faultOf(flooding.client.call(REQUEST, never))).message, /is over 2097152 bytes/);
});

test("in-cluster client - a redirect is no answer, and takes the token nowhere", async () => {
  let asked = 0;
  await using pod = await world((_, response) => {
    asked += 1;
    response.writeHead(307, { location: "/elsewhere" }).end();
  });
  const { message } = await faultOf(pod.client.call(REQUEST, never));
  assert.match(message, /refused to get a thing: Temporary Redirect \(307\)/);
  assert.equal(asked, 1);
});

test("in-cluster client - what is cut, no JSON, or not there is said as such", async () => {
  await using cut = await world(
    (_, response) => void response.writeHead(200, { "content-length": 9 }).write("{", () => response.destroy()),
  );
  assert.equal((await faultOf(cut.client.call(REQUEST, never))).code, "unavailable");
  await using page = await world((_, response) => void response.end("<html>"));
  assert.match((await faultOf(page.client.call(REQUEST, never))).message, /is no JSON/);
  await using pod = await world((_, response) => ok(response));
  await rm(join(pod.accountDir, "token"));
  const { code, message, retriable } = await faultOf(pod.client.call(REQUEST, never));
  assert.deepEqual(
    [code, /token cannot be read: ENOENT/.test(message), retriable],
    ["failed_precondition", true, true],
  );
  const gone = new InClusterClient({ apiServer: { host: "127.0.0.1", port: 1 }, accountDir: pod.accountDir });
  await pod.mount("token", TOKEN);
  assert.match((await faultOf(gone.call(REQUEST, never))).message, /ECONNREFUSED/);
  gone.close();
});

test("in-cluster client - what admission refuses is no missing rule; an unknown token has a hint for a pod", async () => {
  const answers: [number, object][] = [
    [403, { message: 'admission webhook "x" denied the request' }],
    [401, { message: "Unauthorized" }],
    [429, { message: "busy", details: { retryAfterSeconds: 7 } }],
  ];
  await using pod = await world((_, response) => {
    const [status, body] = answers.shift() ?? [500, {}];
    response.writeHead(status).end(JSON.stringify(body));
  });
  assert.match((await faultOf(pod.client.call(REQUEST, never))).message, /admission webhook "x" denied/);
  const unknown = await faultOf(pod.client.call(REQUEST, never));
  assert.deepEqual([unknown.code, /mounted service account token/.test(unknown.hint ?? "")], ["unauthenticated", true]);
  assert.equal((await faultOf(pod.client.call(REQUEST, never))).retryAfterMs, 7_000);
});
