import * as z from "zod";
import { MeshError } from "../../runtime/errors.ts";
import type { InClusterClient } from "./client.ts";
import { missingRule, type Rule } from "./missing-rule.ts";

/** A namespaced object, and for the case that it may not be used, what would grant that. */
export interface GrantedName {
  readonly namespace: string;
  readonly name: string;
  /** For messages, e.g. `chart enterprise-agent with istiodSidecar.createRoleBinding: true`. */
  readonly grantedBy: string;
}

/** What a token shall be good for. */
export interface TokenOrder {
  /** None: the API server's own. */
  readonly audience?: string;
  /** At least 600. */
  readonly lifeSeconds: number;
  /** Binds the token to this pod, which must run as the account: it ends with the pod. Without a UID, whichever there is. */
  readonly pod?: { readonly name: string; readonly uid?: string | undefined };
}

/** A token that was just made. */
export interface RequestedToken {
  readonly token: string;
  /** Milliseconds that it is good for from now on; the API server may give another life than was asked. */
  readonly lifeMs: number;
}

const tokenRequest = z.object({
  spec: z.object({ expirationSeconds: z.number().positive() }),
  status: z.object({ token: z.string().min(1) }),
});

/** Makes a token of a service account. Throws as `InClusterClient.call` does, and `permission_denied` naming the rule. */
export async function requestToken(
  client: InClusterClient,
  account: GrantedName,
  order: TokenOrder & { readonly signal: AbortSignal },
): Promise<RequestedToken> {
  const { audience, lifeSeconds, pod, signal } = order;
  const { namespace, name } = account;
  const spec = {
    audiences: audience === undefined ? [] : [audience],
    expirationSeconds: lifeSeconds,
    ...(pod && { boundObjectRef: { apiVersion: "v1", kind: "Pod", ...pod } }),
  };
  const call = {
    what: `request a token of service account ${namespace}/${name}`,
    method: "POST",
    path: `${pathOf("serviceaccounts", account)}/token`,
    body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec },
  } as const;
  const rule: Rule = { verb: "create", resource: "serviceaccounts/token", ...account };
  const answer = tokenRequest.safeParse(await client.call(call, signal).catch(missingRule(rule)));
  if (!answer.success) throw new MeshError("unavailable", `api server's answer to ${call.what} has no token`);
  return { token: answer.data.status.token, lifeMs: answer.data.spec.expirationSeconds * 1000 };
}

const holder = z.object({ data: z.record(z.string(), z.string()).nullish() });

/** The texts of a ConfigMap, by key. Throws as `requestToken` does, and `not_found`. */
export async function readConfigMap(
  client: InClusterClient,
  name: GrantedName,
  signal: AbortSignal,
): Promise<Readonly<Record<string, string>>> {
  return readData(client, "configmaps", name, signal);
}

/** The values of a Secret, by key, decoded. Throws as `readConfigMap` does. */
export async function readSecret(
  client: InClusterClient,
  name: GrantedName,
  signal: AbortSignal,
): Promise<Readonly<Record<string, string>>> {
  const data = await readData(client, "secrets", name, signal);
  return Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text, "base64").toString()]));
}

async function readData(
  client: InClusterClient,
  resource: "configmaps" | "secrets",
  name: GrantedName,
  signal: AbortSignal,
): Promise<Readonly<Record<string, string>>> {
  const what = `get ${resource.slice(0, -1)} ${name.namespace}/${name.name}`;
  const rule: Rule = { verb: "get", resource, ...name };
  const call = { what, method: "GET", path: pathOf(resource, name) } as const;
  const answer = holder.safeParse(await client.call(call, signal).catch(missingRule(rule)));
  if (!answer.success) throw new MeshError("unavailable", `api server's answer to ${what} has no data`);
  return answer.data.data ?? {};
}

const pathOf = (resource: string, { namespace, name }: GrantedName): string =>
  `/api/v1/namespaces/${encodeURIComponent(namespace)}/${resource}/${encodeURIComponent(name)}`;
