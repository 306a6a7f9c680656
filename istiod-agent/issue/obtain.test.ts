import assert from "node:assert/strict";
import type { KeyObject } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { before, test } from "node:test";
import { type Authority, createRootCa, signCertificate } from "../../common/pki/authority.ts";
import { type Certificate, certificateFacts, parseCertificates } from "../../common/pki/certificate.ts";
import { createCsr, readCsr } from "../../common/pki/csr.ts";
import { generateKey, loadPrivateKey, privateKeyToPem, publicKeyHash } from "../../common/pki/keys.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { obtain } from "./obtain.ts";
import type { IssueOrder } from "./order.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const DAY_SECONDS = 86_400;
const HOST = "spiffe://cluster.local/ns/istio-system/sa/istiod";

type Body = Readonly<Record<string, string>>;

/** What the fake Vault answers to a path; undefined is Vault's 404. */
type Routes = Readonly<Record<string, (body: Body) => Promise<object | undefined>>>;

/** Root, a second CA below it that signs, and another root. */
interface World {
  readonly root: Authority;
  readonly below: Authority;
  readonly stranger: Authority;
}
let world: World;

before(async () => {
  const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 1000 * DAY_SECONDS * 1000 };
  const makeRoot = async (commonName: string): Promise<Authority> => {
    const key = await generateKey(EC);
    return { key, certificate: await createRootCa({ subject: { commonName }, key, ...validity }) };
  };
  const root = await makeRoot("root");
  const key = await generateKey(EC);
  const subject = { commonName: "below" };
  const certificate = await signCertificate({ issuer: root, subject, publicKey: key, ca: {}, ...validity });
  world = { root, below: { key, certificate }, stranger: await makeRoot("root") };
});

async function startVault(routes: Routes) {
  const calls: { line: string; body: Body }[] = [];
  const server = createServer((request, response) => {
    const handle = async (): Promise<void> => {
      const line = `${request.method ?? ""} ${(request.url ?? "").replace("/v1/", "")}`;
      const body = request.method === "POST" ? ((await json(request)) as Body) : {};
      calls.push({ line, body });
      const data = await routes[line]?.(body);
      response.writeHead(data ? 200 : 404, { "content-type": "application/json" });
      response.end(
        JSON.stringify(data ? { data, warnings: ["remark"] } : { errors: [`no handler for route "${line}"`] }),
      );
    };
    void handle();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface SignOptions {
  readonly issuer?: Authority;
  readonly capSeconds?: number;
  /** Milliseconds since the epoch; wins over what is asked for. */
  readonly notAfterMs?: number;
  readonly ca?: boolean;
  /** Certified instead of the request's key. */
  readonly key?: KeyObject;
}

async function signAsVault({ csr, ttl }: Body, options: SignOptions = {}): Promise<Certificate> {
  const { issuer = world.root, capSeconds = Infinity, ca = true, key } = options;
  const request = await readCsr(csr ?? "");
  const seconds = Math.min(Number.parseInt(ttl ?? "", 10), capSeconds);
  return signCertificate({
    issuer,
    subject: request.subject,
    publicKey: key ?? request.publicKey,
    uriSans: request.uriSans,
    notBeforeMs: Date.now() - 30_000,
    notAfterMs: options.notAfterMs ?? Date.now() + seconds * 1000,
    ...(ca ? { ca: { pathLength: 0 } } : {}),
  });
}

/** Vault 1.21's form of answer: ca_chain starts with the new certificate and ends in the root. */
const signed = (options: SignOptions = {}): Routes => ({
  "POST pki/root/sign-intermediate": async (body) => {
    const { pem } = await signAsVault(body, options);
    const issuer = (options.issuer ?? world.root).certificate.pem;
    return { certificate: pem, issuing_ca: issuer, ca_chain: [pem, issuer], serial_number: "x" };
  },
});

const exportedRoutes: Routes = {
  "POST pki_int/intermediate/generate/exported": async ({ common_name: commonName = "" }) => {
    const key = await generateKey(EC);
    const csr = await createCsr({ key, commonName });
    return { csr: csr.trim(), private_key: privateKeyToPem(key).trim(), private_key_type: "ec", key_id: "key-1" };
  },
};

const order = (server: string, vault: Partial<IssueOrder["vault"]> = {}): IssueOrder => ({
  vault: {
    server,
    caPath: "pki/root/sign-intermediate",
    auth: { kind: "token", token: { name: "test", read: () => Promise.resolve("token") } },
    ...vault,
  },
  organization: "gloo-mesh",
  commonName: "istiod",
  hosts: [HOST],
  ttlSeconds: 30 * DAY_SECONDS,
  key: EC,
  graceRatio: 0.1,
  spreadKey: "cluster-1/istiod",
});

const deps = { clock: systemClock, signal: new AbortController().signal };

test("obtain - without csrPath the key is made here and only the request travels", async () => {
  await using vault = await startVault(signed());
  const issued = await obtain(order(vault.url), deps);
  const [call] = vault.calls;
  assert.equal(vault.calls.length, 1);
  assert.doesNotMatch(JSON.stringify(call?.body), /PRIVATE/);
  assert.deepEqual(
    { ...call?.body, csr: "" },
    {
      csr: "",
      format: "pem",
      ttl: `${30 * DAY_SECONDS}s`,
      common_name: "istiod",
      exclude_cn_from_sans: true,
      organization: "gloo-mesh",
      uri_sans: HOST,
    },
  );
  const [certificate] = parseCertificates(issued.certificatePem);
  assert.equal(publicKeyHash(loadPrivateKey(issued.keyPem)), certificate && publicKeyHash(certificate.x509.publicKey));
  assert.deepEqual([issued.chainPems, issued.rootPem], [[issued.certificatePem], world.root.certificate.pem]);
  assert.equal(issued.facts.rootSha256, certificateFacts(world.root.certificate).sha256Fingerprint);
  assert.deepEqual([issued.warnings, issued.vaultWarnings], [[], ["remark"]]);
  assert.deepEqual(issued.facts.uriSans, [HOST]);
});

test("obtain - with csrPath vault makes the key, and its stored copy is deleted or reported", async () => {
  const csrPath = "pki_int/intermediate/generate/exported";
  const keyPath = "pki_int/key/key-1";
  const deletion: Routes = { [`DELETE ${keyPath}`]: () => Promise.resolve({}) };
  await using allowing = await startVault({ ...signed(), ...exportedRoutes, ...deletion });
  const issued = await obtain(order(allowing.url, { csrPath }), deps);
  assert.deepEqual(issued.warnings, []);
  assert.equal(allowing.calls.at(-1)?.line, `DELETE ${keyPath}`);
  assert.deepEqual([allowing.calls[0]?.body["key_type"], allowing.calls[0]?.body["key_bits"]], ["ec", 256]);
  await using refusing = await startVault({ ...signed(), ...exportedRoutes });
  const [warning] = (await obtain(order(refusing.url, { csrPath }), deps)).warnings;
  assert.match(warning ?? "", /^ExportedKeyKept: .*pki_int\/key\/key-1 \(vault_rejected\)/);
});

test("obtain - the stored key is deleted also when signing fails", async () => {
  await using vault = await startVault(exportedRoutes);
  const csrPath = "pki_int/intermediate/generate/exported";
  await assert.rejects(obtain(order(vault.url, { csrPath }), deps), {
    code: "vault_rejected",
    hint: /check caPath: nothing is mounted for "pki\/root\/sign-intermediate"/,
  });
  assert.equal(vault.calls.at(-1)?.line, "DELETE pki_int/key/key-1");
});

test("obtain - a chain without its root is completed from what the mount publishes", async () => {
  const { below, root } = world;
  await using vault = await startVault({
    "POST pki/root/sign-intermediate": async (body) => ({
      certificate: (await signAsVault(body, { issuer: below })).pem,
    }),
    "GET pki/cert/ca_chain": () =>
      Promise.resolve({ certificate: `${below.certificate.pem}\n${root.certificate.pem}` }),
  });
  const issued = await obtain(order(vault.url), deps);
  assert.deepEqual(issued.chainPems, [issued.certificatePem, below.certificate.pem]);
  assert.equal(issued.rootPem, root.certificate.pem);
});

test("obtain - a shorter life is taken and reported with the command or the issuer that caps it", async () => {
  await using capped = await startVault(signed({ capSeconds: 5 * DAY_SECONDS }));
  assert.deepEqual((await obtain(order(capped.url), deps)).warnings, [
    "LifetimeShortened: vault gave 5d of the 30d wanted; to allow more: vault secrets tune -max-lease-ttl=720h pki",
  ]);
  const { notAfterMs } = certificateFacts(world.root.certificate);
  await using ending = await startVault(signed({ notAfterMs }));
  const [warning] = (await obtain({ ...order(ending.url), ttlSeconds: 2000 * DAY_SECONDS }, deps)).warnings;
  assert.match(
    warning ?? "",
    /^LifetimeShortened: vault gave 1000d of the 2000d wanted; its issuer "CN=root" ends then/,
  );
  await using useless = await startVault(signed({ capSeconds: 20 }));
  await assert.rejects(obtain(order(useless.url), deps), {
    code: "ca_unsound",
    message: /renewal would be due at once/,
  });
});

const REFUSALS: readonly (readonly [string, () => Routes, Partial<IssueOrder>, object])[] = [
  ["no ca", () => signed({ ca: false }), {}, { code: "ca_unsound", message: /CA:TRUE/ }],
  [
    "another key's certificate",
    () => signed({ key: world.below.key }),
    {},
    { code: "vault_malformed", message: /none of 4 certificates .* of the requested key/ },
  ],
  [
    "no certificate at all",
    () => ({ "POST pki/root/sign-intermediate": () => Promise.resolve({ certificate: "nonsense" }) }),
    {},
    { code: "vault_malformed", message: /no readable certificate/ },
  ],
  [
    "a root of the same name and another key",
    () => signed({ issuer: world.stranger }),
    { expectedRootSha256: "00" },
    { code: "ca_other_root", message: /want 00$/ },
  ],
  [
    "an issuer that is nowhere",
    () => ({
      "POST pki/root/sign-intermediate": async (body) => ({
        certificate: (await signAsVault(body)).pem,
        issuing_ca: world.stranger.certificate.pem,
      }),
    }),
    {},
    { code: "ca_unsound", message: /is not among/ },
  ],
];

for (const [what, routes, change, expected] of REFUSALS) {
  test(`obtain - ${what} is refused`, async () => {
    await using vault = await startVault(routes());
    await assert.rejects(obtain({ ...order(vault.url), ...change }, deps), expected);
  });
}

test("obtain - an answer without a private key, and a path that keeps it, are refused before anything is signed", async () => {
  const csrPath = "pki_int/intermediate/generate/exported";
  await using vault = await startVault({ [`POST ${csrPath}`]: () => Promise.resolve({ csr: "x", key_id: "1" }) });
  await assert.rejects(obtain(order(vault.url, { csrPath }), deps), {
    code: "vault_malformed",
    message: /lacks private_key/,
  });
  const internal = order(vault.url, { csrPath: "pki_int/intermediate/generate/internal" });
  await assert.rejects(obtain(internal, deps), { code: "invalid_argument" });
  assert.equal(vault.calls.length, 1);
});
