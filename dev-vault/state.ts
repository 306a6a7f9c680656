import { randomBytes, randomUUID } from "node:crypto";
import type { Clock } from "../common/runtime/clock.ts";
import type { Log } from "../common/runtime/log.ts";
import { parsePolicy, type Rule } from "./policy.ts";
import type { Backend } from "./protocol.ts";
import type { Token, TokenStore } from "./tokens.ts";

/** Something mounted, with what `sys/mounts` says of it. */
export interface Mount {
  readonly backend: Backend;
  readonly description: string;
  readonly accessor: string;
  readonly uuid: string;
  /** Seconds, 0 for the system's own; `tune` changes them. */
  readonly tuning: { defaultLeaseTtlS: number; maxLeaseTtlS: number };
}

export interface VaultOptions {
  readonly rootToken: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** All that the server knows, in memory only. */
export interface VaultState extends VaultOptions {
  sealed: boolean;
  /** Secrets engines by path with a slash at its end, `sys/` among them. */
  readonly secrets: Map<string, Mount>;
  /** Auth methods by path below `auth/` with a slash at its end. */
  readonly auths: Map<string, Mount>;
  /** Texts of the policies by name. */
  readonly policies: Map<string, string>;
  readonly tokens: TokenStore;
}

export function createMount(backend: Backend, description: string, tuning: Mount["tuning"]): Mount {
  const accessor = `${backend.type}_${randomBytes(4).toString("hex")}`;
  return { backend, description, accessor, uuid: randomUUID(), tuning };
}

/** The rules of a token's policies; one that does not exist grants nothing. */
export function rulesOf(state: VaultState, token: Token): Rule[] {
  return token.policies.flatMap((name) => parsePolicy(state.policies.get(name) ?? ""));
}
