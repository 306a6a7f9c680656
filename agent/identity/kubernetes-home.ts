import { apply } from "../../common/kube/apply.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import { deleteObject, readObject } from "../../common/kube/objects.ts";
import type { KubeObject, ResourceType } from "../../common/kube/resource-type.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { StateDocument } from "../../common/runtime/state-directory.ts";
import { identitySchema, type StoredIdentity } from "./documents.ts";
import { foundToken } from "./file-home.ts";
import type { IdentityHome, TokenSource } from "./home.ts";
import { fetchPinnedRoot } from "./trust.ts";

const SECRETS: ResourceType = { apiVersion: "v1", kind: "Secret", plural: "secrets" };
const FIELD_MANAGER = "enterprise-agent";
/** On what register made: nobody else's token is deleted. */
const CREATED_BY_LABEL = "relay.mesh.gloo.solo.io/created-by";
/** On the identity that enrolment made; one without it was supplied by somebody. */
const ENROLLED_LABEL = { "relay.mesh.gloo.solo.io/created-by": FIELD_MANAGER } as const;
const USED_TOKEN = "relay.mesh.gloo.solo.io/used-token-sha256";

/** Key of the Secret for each text of the identity. */
const CURRENT = { certificatePem: "tls.crt", keyPem: "tls.key", trustBundlePem: "ca.crt" } as const;
const PREVIOUS = {
  certificatePem: "previous-tls.crt",
  keyPem: "previous-tls.key",
  trustBundlePem: "previous-ca.crt",
} as const;
const PENDING_KEY = "pending-tls.key";

export interface KubernetesIdentityOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly cluster: string;
  /** host:port of the enrolment server. */
  readonly address: string;
  /** "sha256:" and the hex SHA-256 of the root's public key, where no Secret has the root. */
  readonly trustPin?: string | undefined;
  /** Names of Secrets, and of the key of the last. */
  readonly clientCertSecret: string;
  readonly rootTlsSecret: string;
  readonly tokenSecret: string;
  readonly tokenSecretKey: string;
}

/** Identity, roots and join token in Secrets of the agent's namespace. Others may put them there at any time. */
export function kubernetesIdentityHome(options: KubernetesIdentityOptions): IdentityHome {
  const { namespace, cluster, clientCertSecret, rootTlsSecret, tokenSecret, tokenSecretKey } = options;
  return {
    place: `secret ${namespace}/${clientCertSecret}`,
    document: identityDocument(options),
    tokens: tokenSource(options),
    noToken: `no ${tokenSecretKey} in secret ${namespace}/${tokenSecret}`,
    hint: `run meshctl cluster register ${cluster}, which makes ${tokenSecret} and ${rootTlsSecret}; or supply ${clientCertSecret}`,
    roots: (known, signal) => trustedRoots(options, known, signal),
    patient: true,
  };
}

/** What reads a document has no signal of its own; the client's deadline bounds it. */
const UNBOUND = new AbortController().signal;

function identityDocument(options: KubernetesIdentityOptions): StateDocument<StoredIdentity> {
  const { client, namespace, clientCertSecret: name } = options;
  const read = async (): Promise<StoredIdentity | undefined> => {
    const secret = await readObject(client, SECRETS, { namespace, name }, UNBOUND);
    if (!secret) return undefined;
    return isOurs(secret) ? enrolledIdentity(secret) : suppliedIdentity(options, secret);
  };
  return {
    read,
    write: async (identity) => {
      // Whoever supplied it keeps it.
      if (identity.supplied) return;
      const metadata = {
        ...{ namespace, name, labels: ENROLLED_LABEL },
        ...(identity.usedTokenHash !== undefined && { annotations: { [USED_TOKEN]: identity.usedTokenHash } }),
      };
      const fields = { type: "Opaque", data: dataOf(identity) };
      // Without force: what somebody supplied meanwhile has another owner, and stays.
      await apply(client, { type: SECRETS, metadata, fields, fieldManager: FIELD_MANAGER }, UNBOUND);
    },
  };
}

const isOurs = ({ metadata: { labels = {} } }: KubeObject): boolean => labels[CREATED_BY_LABEL] === FIELD_MANAGER;

function enrolledIdentity(secret: KubeObject): StoredIdentity {
  const current = credentialsOf(secret, CURRENT);
  const previous = credentialsOf(secret, PREVIOUS);
  const pendingKeyPem = textOf(secret, PENDING_KEY);
  const usedTokenHash = secret.metadata.annotations?.[USED_TOKEN];
  return identitySchema.parse({
    ...(current && { current }),
    ...(previous && { previous }),
    ...(pendingKeyPem !== undefined && { pendingKeyPem }),
    ...(usedTokenHash !== undefined && { usedTokenHash }),
  });
}

/** The roots may lie beside the certificate or in the Secret of their own. Throws `failed_precondition` naming what lacks. */
async function suppliedIdentity(options: KubernetesIdentityOptions, secret: KubeObject): Promise<StoredIdentity> {
  const { namespace, clientCertSecret } = options;
  const certificatePem = textOf(secret, CURRENT.certificatePem);
  const keyPem = textOf(secret, CURRENT.keyPem);
  const trustBundlePem = textOf(secret, CURRENT.trustBundlePem) ?? (await rootsOfSecret(options, UNBOUND));
  const found = { [CURRENT.certificatePem]: certificatePem, [CURRENT.keyPem]: keyPem, "ca.crt": trustBundlePem };
  const missing = Object.entries(found).flatMap(([key, value]) => (value === undefined ? [key] : []));
  if (certificatePem === undefined || keyPem === undefined || trustBundlePem === undefined) {
    throw new MeshError("failed_precondition", `secret ${namespace}/${clientCertSecret} has no ${missing.join(", ")}`, {
      hint: "complete it, or delete it to have the agent enrol",
      retriable: true,
    });
  }
  return { current: { certificatePem, keyPem, trustBundlePem }, supplied: true };
}

type KeyNames = Readonly<Record<"certificatePem" | "keyPem" | "trustBundlePem", string>>;

function credentialsOf(secret: KubeObject, keys: KeyNames): StoredIdentity["current"] {
  const [certificatePem, keyPem, trustBundlePem] = [keys.certificatePem, keys.keyPem, keys.trustBundlePem].map((key) =>
    textOf(secret, key),
  );
  if (certificatePem === undefined || keyPem === undefined || trustBundlePem === undefined) return undefined;
  return { certificatePem, keyPem, trustBundlePem };
}

function dataOf({ current, previous, pendingKeyPem }: StoredIdentity): Record<string, string> {
  const texts = Object.entries({
    ...(current && entriesOf(current, CURRENT)),
    ...(previous && entriesOf(previous, PREVIOUS)),
    ...(pendingKeyPem !== undefined && { [PENDING_KEY]: pendingKeyPem }),
  });
  return Object.fromEntries(texts.map(([key, text]) => [key, Buffer.from(text).toString("base64")]));
}

const entriesOf = (stored: NonNullable<StoredIdentity["current"]>, keys: KeyNames): Record<string, string> => ({
  [keys.certificatePem]: stored.certificatePem,
  [keys.keyPem]: stored.keyPem,
  [keys.trustBundlePem]: stored.trustBundlePem,
});

/** undefined for a key that is not there or empty. */
function textOf(secret: KubeObject, key: string): string | undefined {
  const { data = {} } = secret as { readonly data?: Readonly<Record<string, string>> };
  const text = Buffer.from(data[key] ?? "", "base64").toString("utf8");
  return text === "" ? undefined : text;
}

function tokenSource({ client, namespace, tokenSecret, tokenSecretKey }: KubernetesIdentityOptions): TokenSource {
  const readSecret = (signal: AbortSignal) => readObject(client, SECRETS, { namespace, name: tokenSecret }, signal);
  const tokenOf = (secret: KubeObject) => {
    const text = textOf(secret, tokenSecretKey)?.trim();
    return text ? foundToken(text) : undefined;
  };
  return {
    read: async (signal) => {
      const secret = await readSecret(signal);
      return secret && tokenOf(secret);
    },
    remove: async (hash, signal) => {
      try {
        const secret = await readSecret(signal);
        const isMadeByRegister = secret?.metadata.labels?.[CREATED_BY_LABEL] === "meshctl";
        if (secret && isMadeByRegister && tokenOf(secret)?.hash === hash)
          await deleteObject(client, SECRETS, secret, signal);
      } catch {
        // It is good for nobody any more, and expires.
      }
    },
  };
}

async function rootsOfSecret(
  { client, namespace, rootTlsSecret: name }: KubernetesIdentityOptions,
  signal: AbortSignal,
): Promise<string | undefined> {
  const secret = await readObject(client, SECRETS, { namespace, name }, signal);
  return secret && textOf(secret, "ca.crt");
}

/** Of the Secret, else of the pin, else `known`. */
async function trustedRoots(
  options: KubernetesIdentityOptions,
  known: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  const { namespace, rootTlsSecret, address, trustPin } = options;
  const given = await rootsOfSecret(options, signal);
  if (given !== undefined) return given;
  if (trustPin !== undefined) return fetchPinnedRoot(address, trustPin, signal);
  if (known !== undefined) return known;
  // Retriable: nothing was sent yet, so the token is still good when somebody has made it.
  throw new MeshError("failed_precondition", `no ca.crt in secret ${namespace}/${rootTlsSecret}`, {
    hint: `meshctl cluster register makes ${rootTlsSecret}; or give --relay-trust-pin`,
    retriable: true,
  });
}
