import assert from "node:assert/strict";
import { createRootCa } from "../../common/pki/authority.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { createVaultRoot, type VaultRoot } from "../../demo/vault-setup.ts";
import { startTokenReviewServer, type TokenReviewServer } from "../fakes/token-review.ts";

export const EC = { type: "ec", curve: "P-256" } as const;
export const ISTIOD = { namespace: "istio-system", serviceAccount: "istiod-service-account" };
export const LOGIN = "auth/kubernetes/login";
export const SIGN = "pki/root/sign-intermediate";
export const DENIED = "1 error occurred:\n\t* permission denied\n\n";
export const INVALID_TOKEN = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
export const CAPPED_LOGIN = 'TTL of "2400h" exceeded the effective max_ttl of "768h"; TTL value is capped accordingly';
/** Longest life of tokens and certificates where nothing is tuned. */
export const SYSTEM_TTL_S = 768 * 3600;
const DAY_MS = 86_400_000;

/** A Vault that nobody has touched yet. */
export interface VaultUnderTest extends AsyncDisposable {
  readonly address: string;
  readonly rootToken: string;
  readonly unsealKey: string;
}

/** What is asserted of a Vault, by sentence. They run in order, on one Vault. */
export type VaultCases = Readonly<Record<string, (vault: VaultSubject) => Promise<void>>>;

export interface Body {
  readonly errors?: readonly string[];
  readonly data: Readonly<Record<string, unknown>> | null;
  readonly auth: Readonly<Record<string, unknown>> | null;
  readonly warnings: readonly string[] | null;
}

export interface Answer {
  readonly status: number;
  /** Parsed; undefined for an empty body. */
  readonly body: Body | undefined;
}

/** The parts of a successful answer, empty where there are none. */
export interface Done {
  readonly data: Readonly<Record<string, unknown>>;
  readonly auth: Readonly<Record<string, unknown>>;
}

export interface Call {
  /** null: none. Default: the root token. */
  readonly token?: string | null;
  readonly body?: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Method, path below `/v1/`, and the rest. */
export type Request = readonly [method: string, path: string, call?: Call];

/** A Vault with an API server beside it that reviews its logins, and the root that it is set up with. */
export class VaultSubject implements AsyncDisposable {
  readonly address: string;
  readonly rootToken: string;
  readonly unsealKey: string;
  readonly reviewer: TokenReviewServer;
  readonly root: VaultRoot;
  /** Of a login by istiod, once the set-up is made. */
  token = "";
  readonly #vault: VaultUnderTest;

  private constructor(vault: VaultUnderTest, reviewer: TokenReviewServer, root: VaultRoot) {
    this.#vault = vault;
    this.address = vault.address;
    this.rootToken = vault.rootToken;
    this.unsealKey = vault.unsealKey;
    this.reviewer = reviewer;
    this.root = root;
  }

  static async start(start: () => Promise<VaultUnderTest>): Promise<VaultSubject> {
    const root = await createVaultRoot("my-org", EC, Date.now());
    return new VaultSubject(await start(), await startTokenReviewServer(), root);
  }

  async call(...[method, path, { token, body, headers } = {}]: Request): Promise<Answer> {
    const credential = token === undefined ? this.rootToken : token;
    const response = await fetch(`${this.address}/v1/${path}`, {
      method,
      headers: { ...(credential === null ? {} : { "x-vault-token": credential }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : (JSON.parse(text) as Body) };
  }

  async refused(status: number, errors: readonly string[], request: Request): Promise<void> {
    const answer = await this.call(...request);
    assert.deepEqual({ status: answer.status, errors: answer.body?.errors }, { status, errors }, request[1]);
  }

  /** Asserts success, and these warnings besides the one about AIA that nearly every answer of a pki mount carries. */
  async done(request: Request, warnings: readonly string[] = []): Promise<Done> {
    const { status, body } = await this.call(...request);
    assert.equal(status, body === undefined ? 204 : 200, `${request[1]}: ${String(body?.errors)}`);
    assert.deepEqual(
      (body?.warnings ?? []).filter((warning) => !warning.includes("(AIA)")),
      warnings,
    );
    return { data: body?.data ?? {}, auth: body?.auth ?? {} };
  }

  /** Logs in as istiod; the token. */
  async login(): Promise<string> {
    const body = { role: "gen-int-ca-istio", jwt: await this.reviewer.createToken(ISTIOD) };
    const { auth } = await this.done(["POST", LOGIN, { token: null, body }], [CAPPED_LOGIN]);
    return String(auth["client_token"]);
  }

  /** Mounts a pki with a root of its own that ends in so many days, while the mount would allow ten years. */
  async mountRoot(path: string, { days, ...rest }: { days: number; pathLength?: number }): Promise<void> {
    const key = await generateKey(EC);
    const validity = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + days * DAY_MS };
    const { pem } = await createRootCa({ subject: { organization: path }, key, ...validity, ...rest });
    await this.done(["POST", `sys/mounts/${path}`, { body: { type: "pki", config: { max_lease_ttl: "87600h" } } }]);
    await this.done(["POST", `${path}/config/ca`, { body: { pem_bundle: privateKeyToPem(key) + pem } }]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#vault[Symbol.asyncDispose]();
    await this.reviewer[Symbol.asyncDispose]();
  }
}
