import type { KeyObject } from "node:crypto";
import { certificateFacts } from "../../common/pki/certificate.ts";
import { publicKeyHash } from "../../common/pki/keys.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Log } from "../../common/runtime/log.ts";
import { dnsLabel } from "../../common/runtime/settings.ts";
import { bundleDigest, type PeerIdentity, readNamedIdentity, readPeerIdentity } from "../../common/session/tls.ts";
import { CloneWatch } from "./clone-watch.ts";
import type { ClusterStore } from "./cluster-store.ts";
import { RateLimit } from "./rate-limit.ts";
import type { ClusterRecord } from "./records.ts";
import type { RelayCa, SignedIdentity } from "./relay-ca.ts";
import { readRequestKey } from "./request-key.ts";
import {
  DEFAULT_TOKEN_TTL_MS,
  formatJoinToken,
  hashSecret,
  type JoinToken,
  makeJoinToken,
  MAX_TOKEN_TTL_MS,
  parseJoinToken,
} from "./token.ts";
import {
  afterUse,
  isInUse,
  judgeToken,
  registered,
  revoked,
  type TokenVerdict,
  withNext,
  withToken,
} from "./transitions.ts";

export interface RegistryDeps {
  readonly store: ClusterStore;
  readonly ca: RelayCa;
  /**
   * True: certificates come from somebody else, so nothing is signed here and no token is made. A cluster is let in by the
   * name in its certificate while it is registered and not revoked.
   */
  readonly ownCertificates?: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** A token that was made, in the form that its holder needs. It is shown once and stored only as a hash. */
export interface IssuedToken {
  readonly text: string;
  readonly expiresAtMs: number;
}

/** Ends the live sessions of a cluster; true when there was one. */
export type RevocationListener = (cluster: string) => boolean;

const RENEWALS_PER_HOUR = 10;

/** Who belongs to the relay: clusters, their tokens and their certificates. */
export class ClusterRegistry {
  readonly clones: CloneWatch;
  readonly #deps: RegistryDeps;
  readonly #renewals: RateLimit;
  readonly #listeners = new Set<RevocationListener>();

  constructor(deps: RegistryDeps) {
    this.#deps = deps;
    this.clones = new CloneWatch(deps.log);
    this.#renewals = new RateLimit({
      clock: deps.clock,
      perSecond: RENEWALS_PER_HOUR / 3600,
      burst: RENEWALS_PER_HOUR,
      what: "certificate renewals of one cluster",
    });
  }

  get(name: string): ClusterRecord | undefined {
    return this.#deps.store.get(name);
  }

  /** In order of name. */
  list(): readonly ClusterRecord[] {
    return this.#deps.store.list();
  }

  /** Whether the cluster may have a session. */
  isServed(name: string): boolean {
    const state = this.get(name)?.state;
    return state === "ENROLLED" || (this.#deps.ownCertificates === true && state === "REGISTERED");
  }

  /** Reads the identity of a verified client certificate. Throws `unauthenticated` for one that names none, or several. */
  peerOf(certificate: Buffer | undefined): PeerIdentity {
    return this.#deps.ownCertificates ? readNamedIdentity(certificate) : readPeerIdentity(certificate);
  }

  /**
   * Makes the record of a cluster and its token; a token made earlier is void. Throws `invalid_argument` for a bad name
   * or life, `conflict` for an enrolled cluster without `renew`.
   */
  async register(name: string, { ttlMs = 0, renew = false } = {}): Promise<IssuedToken> {
    const { clock, log, store } = this.#deps;
    checkName(name, "cluster");
    this.#checkSigns();
    if (ttlMs < 0 || ttlMs > MAX_TOKEN_TTL_MS) {
      throw new MeshError("invalid_argument", `token life of ${ttlMs / 1000} s, at most ${MAX_TOKEN_TTL_MS / 1000} s`, {
        hint: "give --token-ttl of at most 24h",
      });
    }
    const made = makeJoinToken();
    const expiresAtMs = clock.now() + (ttlMs || DEFAULT_TOKEN_TTL_MS);
    const token = { id: made.id, secretHash: hashSecret(made.secret), expiresAtMs, failures: 0 };
    await store.update(name, (record) => withToken(record, { name, token, renew }));
    log.info("cluster registered", { cluster: name, tokenId: made.id, expiresAt: new Date(expiresAtMs).toISOString() });
    return { text: formatJoinToken(made), expiresAtMs };
  }

  /** Takes a cluster's identity away at once. Returns true when a live session was ended. Throws `not_found`. */
  async revoke(name: string): Promise<boolean> {
    const { log, store } = this.#deps;
    await store.update(name, (record) => {
      if (!record) {
        throw new MeshError("not_found", `cluster ${name} is not registered`, {
          hint: "see which are: meshctl cluster list",
        });
      }
      return revoked(record);
    });
    const closed = [...this.#listeners].map((listener) => listener(name)).includes(true);
    log.warn("cluster revoked", { cluster: name, sessionClosed: closed });
    return closed;
  }

  /** Calls `listener` after each revocation. Returns what takes it off. */
  onRevoked(listener: RevocationListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Turns a token and a CSR into a client certificate. One text for every fault of the token: `unauthenticated`; the
   * log has the reason.
   */
  async enroll(tokenText: string, csrPem: string, peer: string): Promise<SignedIdentity & { cluster: string }> {
    const token = parseJoinToken(tokenText);
    const found = token && (await this.#deps.store.findByToken(token.id));
    if (!token || !found) throw this.#refuse(peer, token ? "unknown" : "malformed");
    const publicKey = await readRequestKey(csrPem);
    let signed: SignedIdentity | undefined;
    let verdict: TokenVerdict | undefined;
    await this.#deps.store.update(found.name, async (record) => {
      // It is called again when another replica was faster: then nothing of the first time holds.
      signed = verdict = undefined;
      if (record?.token?.id !== token.id) throw this.#refuse(peer, "replaced", token, found.name);
      verdict = judgeToken(record.token, token, publicKeyHash(publicKey), this.#deps.clock.now());
      if (verdict.kind === "refused") return record;
      if (verdict.kind === "wrong") return { ...record, token: verdict.token };
      signed = await this.#sign(found.name, publicKey);
      return withNext({ ...record, token: verdict.token }, recordOf(signed, publicKey));
    });
    if (!signed) throw this.#refuse(peer, reasonOf(verdict), token, found.name);
    this.#deps.log.info("cluster enrolled", { cluster: found.name, tokenId: token.id, peer });
    return { ...signed, cluster: found.name };
  }

  /**
   * Decides whether a verified certificate may act for its cluster now, and returns the cluster's record; see `afterUse`
   * for the errors. Operators are `permission_denied`.
   */
  async admit(peer: PeerIdentity): Promise<ClusterRecord> {
    const { store, clock, log } = this.#deps;
    const { identity, fingerprint, serial, notAfterMs } = peer;
    if (identity.kind !== "cluster") {
      throw new MeshError("permission_denied", `${identity.kind} ${identity.name} is not a cluster`);
    }
    const nowMs = clock.now();
    if (nowMs > notAfterMs) throw expired(peer);
    if (this.#deps.ownCertificates) return registered(store.get(identity.name), identity.name);
    try {
      const shown = { cluster: identity.name, fingerprint };
      const known = store.get(identity.name);
      if (known && isInUse(known, shown, nowMs)) return known;
      return await store.update(identity.name, (record) => afterUse(record, shown, nowMs));
    } catch (error) {
      // It is of our CA and names a cluster that is enrolled: a copy of an agent's state, or a backup of it or of ours.
      const possibleClone = MeshError.from(error).code === "unauthenticated";
      if (possibleClone) this.clones.certificateRefused(identity.name);
      log.warn("certificate refused", {
        cluster: identity.name,
        serial,
        err: error,
        ...(possibleClone && { possibleClone }),
      });
      throw error;
    }
  }

  /** Signs a new certificate for the cluster of `peer`; the old one stays good until the new one is used. */
  async renew(peer: PeerIdentity, csrPem: string): Promise<SignedIdentity> {
    this.#checkSigns();
    const { name } = await this.admit(peer);
    this.#renewals.take(name);
    const publicKey = await readRequestKey(csrPem);
    const signed = await this.#sign(name, publicKey);
    await this.#deps.store.update(name, (record) =>
      withNext(
        afterUse(record, { cluster: name, fingerprint: peer.fingerprint }, this.#deps.clock.now()),
        recordOf(signed, publicKey),
      ),
    );
    this.#deps.log.info("cluster certificate renewed", { cluster: name, notAfter: iso(signed.notAfterMs) });
    return signed;
  }

  /** Signs a client certificate for a person, good for a day; it is not recorded, so it cannot be taken back sooner. */
  async issueOperator(name: string, csrPem: string): Promise<SignedIdentity> {
    checkName(name, "operator");
    this.#checkSigns();
    const signed = await this.#deps.ca.signClient(await readRequestKey(csrPem), { kind: "operator", name });
    this.#deps.log.info("operator certificate issued", { operator: name, notAfter: iso(signed.notAfterMs) });
    return signed;
  }

  /**
   * Throws unless a verified certificate is an operator's, in force, and signed by the relay's own CA: those of operators
   * are not recorded, so that nobody else below the same root may make one. Returns the operator's name.
   */
  admitOperator(certificate: Buffer | undefined): string {
    const peer = this.peerOf(certificate);
    const { kind, name } = peer.identity;
    if (kind !== "operator") throw new MeshError("permission_denied", `${kind} ${name} is not an operator`);
    if (this.#deps.clock.now() > peer.notAfterMs) throw expired(peer);
    if (certificate && !this.#deps.ownCertificates && this.#deps.ca.hasSigned(certificate)) return name;
    throw new MeshError("unauthenticated", `the certificate of operator ${name} is not of the relay's own authority`);
  }

  #checkSigns(): void {
    if (!this.#deps.ownCertificates) return;
    throw new MeshError("failed_precondition", "the relay's own certificate authority is disabled", {
      hint: "make the client certificate with yours, and register the cluster: kubectl apply a KubernetesCluster of its name",
    });
  }

  #sign(cluster: string, publicKey: KeyObject): Promise<SignedIdentity> {
    return this.#deps.ca.signClient(publicKey, { kind: "cluster", name: cluster });
  }

  #refuse(peer: string, reason: string, token?: JoinToken, cluster?: string): MeshError {
    const theft = reason === "used with another key" ? { possibleTheft: true } : {};
    this.#deps.log.warn("enrolment refused", { peer, reason, tokenId: token?.id, cluster, ...theft });
    return new MeshError("unauthenticated", "the token is not valid", {
      hint: "get a new one: meshctl cluster register NAME --renew-token",
    });
  }
}

const reasonOf = (verdict: TokenVerdict | undefined): string =>
  verdict?.kind === "refused" ? verdict.reason : "wrong secret";

function checkName(name: string, what: string): void {
  if (dnsLabel.safeParse(name).success) return;
  throw new MeshError("invalid_argument", `${what} name "${name.slice(0, 80)}" is not a dns label`, {
    hint: "use lower-case letters, digits and dashes, at most 63",
  });
}

function recordOf({ certificate, notAfterMs, trustBundlePem }: SignedIdentity, publicKey: KeyObject) {
  const { serialNumber } = certificate.x509;
  const fingerprint = certificateFacts(certificate).sha256Fingerprint;
  const trust = bundleDigest(trustBundlePem).toString("hex");
  return { serial: serialNumber, fingerprint, keyHash: publicKeyHash(publicKey), notAfterMs, trust };
}

function expired({ identity, notAfterMs }: PeerIdentity): MeshError {
  return new MeshError("unauthenticated", `the certificate of ${identity.name} expired at ${iso(notAfterMs)}`);
}

const iso = (ms: number): string => new Date(ms).toISOString();
