import * as z from "zod";
import { MeshError } from "../../common/runtime/errors.ts";
import { apiPath, type Caller, type ClientOptions, type VaultCall, VaultClient, type VaultReply } from "./client.ts";
import { type Credential, type ServiceAccount, serviceAccountOf } from "../pod/credential.ts";

/** How to get a token of Vault. */
export type VaultAuth =
  | {
      readonly kind: "kubernetes";
      /** Path of the auth mount, e.g. "/v1/auth/kubernetes"; "/v1/" may be missing. */
      readonly mountPath: string;
      readonly role: string;
      /** The service account token to log in with. */
      readonly jwt: Credential;
    }
  | { readonly kind: "token"; readonly token: Credential };

export interface SessionOptions extends ClientOptions {
  readonly auth: VaultAuth;
  readonly signal: AbortSignal;
  /** Called after each login, with what logged in. */
  readonly onLogin?: ((caller: string) => void) | undefined;
}

/** Vault, logged in. Errors are of the codes vault_*, and name what the operator must change. */
export interface VaultSession {
  write(call: VaultCall, body: Readonly<Record<string, unknown>>): Promise<VaultReply>;
  read(call: VaultCall): Promise<VaultReply>;
  delete(call: VaultCall): Promise<VaultReply>;
}

/** Revoking is a courtesy to Vault's storage; nobody waits long for it. */
const REVOKE_DEADLINE_MS = 2_000;

const loginReply = z.object({ client_token: z.string().min(1) });

/**
 * Logs in, does `work`, and revokes the token, also when `work` fails; a token that was given to us is not revoked. A
 * call that is denied logs in once more, because tokens and policies change; denied again it is `vault_denied`.
 */
export async function withVault<T>(options: SessionOptions, work: (vault: VaultSession) => Promise<T>): Promise<T> {
  const session = new Session(options);
  try {
    return await work(session);
  } finally {
    await session.close();
  }
}

class Session implements VaultSession {
  readonly #client: VaultClient;
  readonly #options: SessionOptions;
  #caller: Caller | undefined;
  #loggedInAgain = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#client = new VaultClient(options);
  }

  write(call: VaultCall, body: Readonly<Record<string, unknown>>): Promise<VaultReply> {
    return this.#call("POST", call, body);
  }

  read(call: VaultCall): Promise<VaultReply> {
    return this.#call("GET", call);
  }

  delete(call: VaultCall): Promise<VaultReply> {
    return this.#call("DELETE", call);
  }

  async close(): Promise<void> {
    await this.#revoke();
    this.#client.close();
  }

  async #call(method: "GET" | "POST" | "DELETE", call: VaultCall, body?: VaultBody): Promise<VaultReply> {
    const { signal } = this.#options;
    const invoke = async (): Promise<VaultReply> => {
      const caller = (this.#caller ??= await this.#login());
      return this.#client.call({ ...call, method, body, caller, signal });
    };
    try {
      return await invoke();
    } catch (error) {
      if (!isDenied(error) || this.#loggedInAgain || this.#caller === undefined) throw error;
      this.#loggedInAgain = true;
      await this.#revoke();
      return invoke();
    }
  }

  async #login(): Promise<Caller> {
    const { auth, signal } = this.#options;
    if (auth.kind === "token") {
      return { token: await auth.token.read(signal), name: `the token of ${auth.token.name}` };
    }
    const jwt = await auth.jwt.read(signal);
    const account = serviceAccountOf(jwt);
    const from = account ? `service account ${account.namespace}/${account.name}` : `token of ${auth.jwt.name}`;
    const name = `role "${auth.role}" (${from})`;
    const mount = apiPath(auth.mountPath);
    const call = { path: `${mount}/login`, setting: "kubernetesAuth.mountPath and role", caller: { name }, signal };
    const body = { role: auth.role, jwt };
    const reply = await this.#client.call({ ...call, method: "POST", body }).catch((error: unknown) => {
      throw loginError(error, `vault write ${mount}/role/${auth.role}`, account);
    });
    const parsed = loginReply.safeParse(reply.auth);
    if (!parsed.success) throw new MeshError("vault_malformed", `vault's answer to ${call.path} has no client_token`);
    this.#options.onLogin?.(name);
    return { token: parsed.data.client_token, name };
  }

  /** Best effort: a token that stays runs out by itself. */
  async #revoke(): Promise<void> {
    const caller = this.#caller;
    this.#caller = undefined;
    if (caller === undefined || this.#options.auth.kind === "token") return;
    const signal = AbortSignal.timeout(REVOKE_DEADLINE_MS);
    const call = { path: "auth/token/revoke-self", setting: "policy", caller, signal };
    await this.#client.call({ ...call, method: "POST" }).catch(() => undefined);
  }
}

type VaultBody = Readonly<Record<string, unknown>>;

function isDenied(error: unknown): boolean {
  return error instanceof MeshError && error.code === "vault_denied";
}

/** A login is denied by the role's bindings, not by a policy, so the order to the operator is another one. */
function loginError(thrown: unknown, writeRole: string, account: ServiceAccount | undefined): MeshError {
  const error = MeshError.from(thrown);
  const { code, message, cause } = error;
  const { namespace, name, audiences } = account ?? { namespace: "NAMESPACE", name: "NAME", audiences: [] };
  const bind = `${writeRole} bound_service_account_names=${name} bound_service_account_namespaces=${namespace}`;
  if (code === "vault_denied" && /invalid audience/i.test(message)) {
    const hint = `the token is for ${audiences.join(", ") || "no audience"}: name that (${writeRole} audience=…), or mount a token of the role's audience and set mountedSaPath to its directory`;
    return new MeshError(code, message, { cause, hint });
  }
  if (code === "vault_denied") {
    const hint = `bind the account (${bind} …), and check that the mount is there and can review this cluster's tokens`;
    return new MeshError(code, message, { cause, hint });
  }
  if (code !== "vault_rejected" || !/role name|missing role/i.test(message)) return error;
  return new MeshError(code, message, { cause, hint: `make the role: ${bind} …` });
}
