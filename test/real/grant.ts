import type { ApiServer } from "../harness/api-server.ts";
import { eventually } from "../harness/wait.ts";

/** One right by name, as the chart's Roles give it. */
export interface NamedRule {
  readonly verb: string;
  /** With its subresource; of the core group. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
}

/** Gives an account that right, and resolves when the API server grants it; with what kubectl takes to revoke it. */
export async function grantByName(
  api: ApiServer,
  account: { readonly namespace: string; readonly name: string },
  { verb, resource, namespace, name }: NamedRule,
): Promise<string[]> {
  const group = "rbac.authorization.k8s.io";
  const metadata = { namespace, name: `${account.name}-${verb}-${resource.replace("/", "-")}-${name}` };
  const rules = [{ apiGroups: [""], resources: [resource], verbs: [verb], resourceNames: [name] }];
  const roleRef = { apiGroup: group, kind: "Role", name: metadata.name };
  const subjects = [{ kind: "ServiceAccount", ...account }];
  await api.apply(
    { apiVersion: `${group}/v1`, kind: "Role", metadata, rules },
    { apiVersion: `${group}/v1`, kind: "RoleBinding", metadata, roleRef, subjects },
  );
  const [kind = "", subresource] = resource.split("/");
  const question = ["auth", "can-i", verb, `${kind}/${name}`, "--namespace", namespace];
  if (subresource !== undefined) question.push("--subresource", subresource);
  const as = `--as=system:serviceaccount:${account.namespace}:${account.name}`;
  await eventually(`${verb} ${resource} granted`, () => api.kubectl([...question, as]));
  return ["delete", "role,rolebinding", metadata.name, "--namespace", namespace];
}
