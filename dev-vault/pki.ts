import type { KeyObject } from "node:crypto";
import { createRootCa } from "../common/pki/authority.ts";
import { type Certificate, certificateFacts, parseCertificates } from "../common/pki/certificate.ts";
import { createCsr } from "../common/pki/csr.ts";
import { loadPrivateKey } from "../common/pki/keys.ts";
import { certifiedNames, exportKey, generateRequestedKey, signIntermediate, signedLife } from "./pki-sign.ts";
import {
  addIssuer,
  addKey,
  chainOf,
  defaultIssuer,
  type Issuer,
  NO_AIA,
  pemOf,
  type Pki,
  type PkiOptions,
} from "./pki-store.ts";
import { type Backend, invalid, listReply, type Reply, VaultError, type VaultRequest } from "./protocol.ts";

const NO_AIA_INTERMEDIATE = `${NO_AIA} Since this certificate is an intermediate, it might be useful to regenerate this certificate after fixing this problem for the root mount.`;

/** The pki secrets engine: as much of it as making a root, a request and an intermediate takes. */
export function pkiBackend(options: PkiOptions): Backend {
  const pki: Pki = { ...options, keys: new Map(), issuers: new Map(), defaultKey: undefined, defaultIssuer: undefined };
  return {
    type: "pki",
    routes: [
      { pattern: /^config\/ca$/, update: (request) => importBundle(pki, request) },
      { pattern: /^root\/generate\/(?<mode>[^/]+)$/, update: (request) => generateRoot(pki, request) },
      { pattern: /^root\/replace$/, update: (request) => replaceRoot(pki, request) },
      { pattern: /^root\/sign-intermediate$/, update: (request) => signIntermediate(pki, request) },
      { pattern: /^issuer\/(?<issuer>[^/]+)\/sign-intermediate$/, update: (request) => signIntermediate(pki, request) },
      { pattern: /^intermediate\/generate\/(?<mode>[^/]+)$/, update: (request) => generateRequest(pki, request) },
      { pattern: /^cert\/ca$/, open: true, read: () => ({ data: certificateData(defaultIssuer(pki)) }) },
      { pattern: /^cert\/ca_chain$/, open: true, read: () => readChain(pki) },
      { pattern: /^issuers$/, open: true, list: () => listIssuers(pki) },
      { pattern: /^keys$/, list: () => listKeys(pki) },
      {
        pattern: /^key\/(?<id>[^/]+)$/,
        read: (request) => readKey(pki, request),
        delete: (request) => deleteKey(pki, request),
      },
    ],
  };
}

const KEY_BLOCK = /-----BEGIN (?<label>[A-Z ]*PRIVATE KEY)-----[^-]*-----END \k<label>-----/g;

function importBundle(pki: Pki, { fields }: VaultRequest): Reply {
  const bundle = fields.text("pem_bundle");
  if (bundle === undefined) throw invalid("'pem_bundle' and 'certificate' parameters were empty");
  if (!bundle.includes("-----BEGIN ")) {
    const advice = "perhaps a path was passed to the API rather than the contents of a PEM file";
    throw invalid(`provided data for import was too short; ${advice}`);
  }
  const keys = (bundle.match(KEY_BLOCK) ?? []).map((block) => addKey(pki, readKeyBlock(block)));
  const hasCertificate = bundle.includes("-----BEGIN CERTIFICATE-----");
  const issuers = hasCertificate ? readCertificates(bundle).map((each) => addIssuer(pki, each)) : [];
  const ids = (of: readonly { id: string; existing: boolean }[], existing: boolean): string[] | null => {
    const chosen = of.filter((each) => each.existing === existing).map(({ id }) => id);
    return chosen.length > 0 ? chosen : null;
  };
  return {
    data: {
      existing_issuers: ids(issuers, true),
      existing_keys: ids(keys, true),
      imported_issuers: ids(issuers, false),
      imported_keys: ids(keys, false),
      mapping: Object.fromEntries(issuers.map(({ id }) => [id, pki.issuers.get(id)?.keyId ?? ""])),
    },
    warnings: [NO_AIA],
  };
}

function readKeyBlock(block: string): KeyObject {
  try {
    return loadPrivateKey(block);
  } catch (error) {
    throw invalid((error as Error).message);
  }
}

function readCertificates(pem: string): Certificate[] {
  try {
    return parseCertificates(pem);
  } catch (error) {
    throw invalid((error as Error).message);
  }
}

async function generateRoot(pki: Pki, { params, fields }: VaultRequest): Promise<Reply> {
  if (params["mode"] !== "internal") throw invalid('this development Vault makes roots with "internal" keys only');
  const key = await generateRequestedKey(fields);
  const { organization, commonName } = certifiedNames(fields);
  const { warnings, ...validity } = signedLife(pki, fields);
  const subject = { ...(organization ? { organization } : {}), ...(commonName ? { commonName } : {}) };
  const certificate = await createRootCa({ subject, key, ...validity });
  const keyId = addKey(pki, key).id;
  const { id } = addIssuer(pki, certificate);
  const { serial } = certificateFacts(certificate);
  const pem = pemOf(certificate);
  return {
    data: {
      certificate: pem,
      expiration: Math.floor(validity.notAfterMs / 1000),
      issuer_id: id,
      issuer_name: "",
      issuing_ca: pem,
      key_id: keyId,
      key_name: "",
      serial_number: serial,
    },
    warnings: [NO_AIA, ...warnings],
  };
}

function replaceRoot(pki: Pki, { fields }: VaultRequest): Reply {
  const id = fields.text("default") ?? "next";
  if (!pki.issuers.has(id))
    throw invalid(`Error resolving issuer reference: unable to find PKI issuer for reference: ${id}`);
  pki.defaultIssuer = id;
  return { data: { default: id, default_follows_latest_issuer: false } };
}

async function generateRequest(pki: Pki, { params, fields }: VaultRequest): Promise<Reply> {
  const mode = params["mode"] ?? "";
  if (mode !== "exported" && mode !== "internal") {
    throw invalid('the "exported" path parameter must be "internal", "existing", exported" or "kms"');
  }
  const key = await generateRequestedKey(fields);
  const csr = await createCsr({ key, ...certifiedNames(fields) });
  const { id } = addKey(pki, key);
  const exported = mode === "exported" ? exportKey(key, fields.text("private_key_format")) : {};
  return { data: { csr: csr.trim(), key_id: id, ...exported }, warnings: [NO_AIA_INTERMEDIATE] };
}

function certificateData({ certificate }: Issuer): Readonly<Record<string, unknown>> {
  return { certificate: pemOf(certificate), revocation_time: 0, revocation_time_rfc3339: "" };
}

function readChain(pki: Pki): Reply {
  const issuer = defaultIssuer(pki);
  const chain = chainOf(pki, issuer).map(pemOf).join("\n");
  return { data: { ...certificateData(issuer), ca_chain: chain, certificate: chain } };
}

function listIssuers(pki: Pki): Reply {
  const info = ([id, { certificate, keyId }]: [string, Issuer]) => {
    const { serial } = certificateFacts(certificate);
    return [id, { is_default: id === pki.defaultIssuer, issuer_name: "", key_id: keyId, serial_number: serial }];
  };
  return listReply(Array.from(pki.issuers.keys()), {
    key_info: Object.fromEntries(Array.from(pki.issuers, info)) as object,
  });
}

function listKeys(pki: Pki): Reply {
  const ids = Array.from(pki.keys.keys());
  const info = ids.map((id) => [id, { is_default: id === pki.defaultKey, key_name: "" }]);
  return listReply(ids, { key_info: Object.fromEntries(info) as object });
}

function readKey(pki: Pki, { params }: VaultRequest): Reply {
  const id = params["id"] ?? "";
  const key = pki.keys.get(id);
  if (!key) throw new VaultError(500, `unable to find PKI key for reference: ${id}`, { fault: true });
  return { data: { key_id: id, key_name: "", key_type: key.asymmetricKeyType } };
}

function deleteKey(pki: Pki, { params }: VaultRequest): Reply | undefined {
  const id = params["id"] ?? "";
  pki.keys.delete(id);
  if (pki.defaultKey !== id) return undefined;
  pki.defaultKey = undefined;
  const consequence = "Operations without an explicit key will not work until a new default is configured.";
  return {
    warnings: [`Deleted key ${id} (via key_ref ${id}); this was configured as the default key. ${consequence}`],
  };
}
