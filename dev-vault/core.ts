import { randomUUID } from "node:crypto";
import { Fields } from "./fields.ts";
import { allows, DEFAULT_POLICY } from "./policy.ts";
import { type Operation, type Reply, type Route, VaultError } from "./protocol.ts";
import { createMount, type Mount, rulesOf, type VaultOptions, type VaultState } from "./state.ts";
import { sysBackend } from "./sys.ts";
import { tokenBackend } from "./token-auth.ts";
import { type Token, TokenStore } from "./tokens.ts";

/** A request as it came over the wire, without the `/v1/`. */
export interface WireRequest {
  readonly operation: Operation;
  readonly path: string;
  readonly tokenId: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface WireReply {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>> | undefined;
}

export function createState(options: VaultOptions): VaultState {
  const state: VaultState = {
    ...options,
    sealed: false,
    secrets: new Map(),
    auths: new Map(),
    policies: new Map([["default", DEFAULT_POLICY]]),
    tokens: new TokenStore(options.clock, options.rootToken),
  };
  const untuned = () => ({ defaultLeaseTtlS: 0, maxLeaseTtlS: 0 });
  const description = "system endpoints used for control, policy and debugging";
  state.secrets.set("sys/", createMount(sysBackend(state), description, untuned()));
  state.auths.set(
    "token/",
    createMount(tokenBackend(state.tokens, state.policies), "token based credentials", untuned()),
  );
  return state;
}

/** Answers a request as Vault would: seal first, then token, policy, route. Never throws for what a caller sends. */
export async function answer(state: VaultState, request: WireRequest): Promise<WireReply> {
  const token = request.tokenId === undefined ? undefined : state.tokens.find(request.tokenId);
  const target = route(state, request.path);
  try {
    return await respond(state, request, { token, target });
  } catch (error) {
    if (!(error instanceof VaultError)) throw error;
    const numbered = error.fault && token !== undefined && !isOpen(target);
    const message = numbered ? `1 error occurred:\n\t* ${error.message}\n\n` : error.message;
    return { status: error.status, body: { errors: message === "" ? [] : [message] } };
  }
}

interface Call {
  readonly token: Token | undefined;
  readonly target: Target | undefined;
}

async function respond(state: VaultState, request: WireRequest, { token, target }: Call): Promise<WireReply> {
  if (state.sealed && !WHEN_SEALED.has(request.path)) throw new VaultError(503, "Vault is sealed");
  if (!isOpen(target)) authorize(state, request, { token, target });
  const { mount, handler, params } = handlerOf(target, request);
  const reply = await handler({ params, fields: new Fields(request.body), token });
  return encode(reply, mount.backend.type, isOpen(target));
}

function isOpen(target: Target | undefined): boolean {
  return target?.route?.open ?? false;
}

const WHEN_SEALED: ReadonlySet<string> = new Set(["sys/health", "sys/seal-status", "sys/unseal"]);

interface Target {
  readonly mount: Mount;
  readonly route: Route | undefined;
  readonly params: Readonly<Record<string, string>>;
}

function route(state: VaultState, path: string): Target | undefined {
  const [mounts, below] = path.startsWith("auth/") ? [state.auths, path.slice("auth/".length)] : [state.secrets, path];
  const prefix = Array.from(mounts.keys())
    .filter((each) => below.startsWith(each))
    .sort((a, b) => b.length - a.length)[0];
  const mount = prefix === undefined ? undefined : mounts.get(prefix);
  if (prefix === undefined || mount === undefined) return undefined;
  const rest = below.slice(prefix.length);
  const matched = mount.backend.routes.find(({ pattern }) => pattern.test(rest));
  return { mount, route: matched, params: matched?.pattern.exec(rest)?.groups ?? {} };
}

function authorize(state: VaultState, request: WireRequest, { token, target }: Call): void {
  if (request.tokenId === undefined) throw new VaultError(403, "permission denied");
  if (token === undefined) {
    throw new VaultError(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n");
  }
  if (token.policies.includes("root")) return;
  if (target?.route?.sudo || !allows(rulesOf(state, token), request.operation, request.path)) {
    throw new VaultError(403, "permission denied", { fault: true });
  }
}

function handlerOf(target: Target | undefined, { path, operation }: WireRequest) {
  if (target === undefined) {
    throw new VaultError(404, `no handler for route "${path}". route entry not found.`);
  }
  if (target.route === undefined) throw new VaultError(404, "unsupported path", { fault: true });
  const handler = target.route[operation];
  if (handler === undefined) throw new VaultError(405, "unsupported operation", { fault: true });
  return { ...target, handler };
}

function encode(reply: Reply | undefined, type: string, open: boolean): WireReply {
  if (reply === undefined) return { status: 204, body: undefined };
  if (reply.bare) return reply.bare;
  const { data = null, auth = null, warnings = [] } = reply;
  return {
    status: 200,
    body: {
      ...(type === "system" ? data : {}),
      request_id: randomUUID(),
      lease_id: "",
      renewable: false,
      lease_duration: 0,
      data,
      wrap_info: null,
      warnings: warnings.length > 0 ? warnings : null,
      auth,
      mount_type: open ? "" : type,
    },
  };
}
