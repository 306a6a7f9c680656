import { createHash } from "node:crypto";
import { join } from "node:path";
import type {
  IssuedCertificate,
  ResourceName,
  VaultCertificateAuthority,
  VaultKubernetesAuth,
} from "../../proto/gen/certificates/v1/certificates.ts";
import type { Order } from "../../proto/gen/istiod/v1/istiod.ts";
import type { KeySpec } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { IssueOrder, VaultAuthority } from "../issue/order.ts";
import type { PodContext } from "../pod/context.ts";
import { jwtCredential, type Credential } from "../pod/credential.ts";
import type { OrderCredentials } from "../pod/credentials.ts";
import type { VaultAuth } from "../vault/session.ts";

/** The pod that obeys, and what it may log in with. */
export interface Obeyer {
  readonly pod: PodContext;
  readonly credentials: OrderCredentials;
}

const DAY_SECONDS = 86_400;
/** Names of X.509 end here (RFC 5280, ub-common-name). */
const MAX_COMMON_NAME = 64;
const DEFAULT_TOKEN_KEY = "token";
/** Share of the life left at the latest renewal, where the order names none. */
const DEFAULT_GRACE_RATIO = 0.1;

/** Says what to ask Vault for. Throws `invalid_argument` for an order that cannot be obeyed. */
export function toIssueOrder({ certificate, cluster }: Order, obeyer: Obeyer): IssueOrder {
  const authority = certificate?.certificateAuthority;
  if (!certificate || !authority) throw wrong("it names no certificate authority");
  const { options, hosts } = certificate;
  return {
    vault: toVaultAuthority(authority.value, obeyer),
    organization: options?.orgName || undefined,
    commonName: (certificate.name?.name ?? "istiod").slice(0, MAX_COMMON_NAME),
    hosts,
    ttlSeconds: (options?.ttlDays ?? 0) * DAY_SECONDS,
    key: toKeySpec(options?.keySizeBits ?? 0),
    ...renewalTerms(certificate, cluster, obeyer.pod),
  };
}

/** What decides when the CA of an order is renewed. */
export function renewalTerms(
  { options }: Pick<IssuedCertificate, "options">,
  cluster: string,
  { podName }: Pick<PodContext, "podName">,
): Pick<IssueOrder, "graceRatio" | "spreadKey"> {
  const ratio = options?.secretRotationGracePeriodRatio ?? 0;
  return { graceRatio: ratio > 0 && ratio < 1 ? ratio : DEFAULT_GRACE_RATIO, spreadKey: `${cluster}/${podName}` };
}

/**
 * Names what an order asks for: equal for two orders whose CAs could stand for each other, so that a new login, trust
 * anchor or renewal ratio does not make a new CA. Lower-case hex.
 */
export function requestKey({ name, hosts, options, certificateAuthority }: IssuedCertificate): string {
  const { server, namespace, caPath, csrPath } = certificateAuthority?.value ?? {};
  const { ttlDays, keySizeBits, orgName } = options ?? {};
  const facts = [name?.name, hosts, ttlDays, keySizeBits, orgName, server, namespace, caPath, csrPath];
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex");
}

function toKeySpec(bits: number): KeySpec {
  if (bits === 256) return { type: "ec", curve: "P-256" };
  if (bits === 2048 || bits === 3072 || bits === 4096) return { type: "rsa", bits };
  throw wrong(`key size ${bits} is none of 256 (ec), 2048, 3072 and 4096 (rsa)`);
}

function toVaultAuthority(vault: VaultCertificateAuthority, obeyer: Obeyer): VaultAuthority {
  const { server, caPath, csrPath, namespace, caSource, auth } = vault;
  return {
    server,
    caPath,
    csrPath: csrPath || undefined,
    namespace: namespace || undefined,
    caBundlePem: caSource?.$case === "caBundle" ? caSource.value.toString("utf8") : undefined,
    caLocalPath: caSource?.$case === "caLocalPath" ? caSource.value : undefined,
    auth: toAuth(auth, obeyer),
  };
}

function toAuth(auth: VaultCertificateAuthority["auth"], obeyer: Obeyer): VaultAuth {
  if (auth?.$case === "tokenSecretRef") {
    return { kind: "token", token: obeyer.credentials.secret(checked(auth.value), DEFAULT_TOKEN_KEY) };
  }
  if (auth?.$case !== "kubernetesAuth") throw wrong("it names no way to log in to vault");
  const { mountPath, role } = auth.value;
  return { kind: "kubernetes", mountPath: mountPath || "/v1/auth/kubernetes", role, jwt: toJwt(auth.value, obeyer) };
}

function toJwt(
  { serviceAccountLocation, secretTokenKey }: VaultKubernetesAuth,
  { pod, credentials }: Obeyer,
): Credential {
  const key = fileName(secretTokenKey || DEFAULT_TOKEN_KEY);
  if (serviceAccountLocation?.$case === "mountedSaPath") return jwtCredential(join(serviceAccountLocation.value, key));
  const other = serviceAccountLocation?.value;
  const isOwn = !other || (other.namespace === pod.podNamespace && other.name === pod.serviceAccount);
  return isOwn ? credentials.own(key) : credentials.account(checked(other), key);
}

const checked = ({ namespace, name }: ResourceName): ResourceName => ({
  namespace: fileName(namespace),
  name: fileName(name),
});

/** A name that stays one name when it is made part of a path. */
function fileName(name: string): string {
  if (/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}$/.test(name)) return name;
  throw wrong(`"${name.slice(0, 64)}" is no name of a namespace, a secret or a key`);
}

const wrong = (fault: string): MeshError => new MeshError("invalid_argument", `the order cannot be obeyed: ${fault}`);
