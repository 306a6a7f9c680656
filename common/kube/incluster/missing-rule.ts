import { MeshError } from "../../runtime/errors.ts";
import { httpStatusOf } from "../errors.ts";

/** One right, as a Role gives it. */
export interface Rule {
  readonly verb: "get" | "create";
  /** With its subresource: "serviceaccounts/token". All are of the core group. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  /** For messages: what makes the rule. */
  readonly grantedBy: string;
}

/** How every authorizer's refusal reads; what admission refuses reads otherwise, and no rule would help. */
const UNAUTHORIZED = /User "([^"]+)" cannot \w+ resource "/;

/** For `catch`: makes the refusal of a request that needs `rule` one that names it, and throws everything else on. */
export function missingRule(rule: Rule): (thrown: unknown) => never {
  return (thrown) => {
    if (!(thrown instanceof MeshError) || httpStatusOf(thrown) !== 403) throw thrown;
    const user = UNAUTHORIZED.exec(thrown.message)?.[1];
    throw user === undefined ? thrown : missingRuleError(user, rule, thrown.cause);
  };
}

function missingRuleError(user: string, rule: Rule, cause: unknown): MeshError {
  const { verb, resource, namespace, name, grantedBy } = rule;
  const [, account] = /^system:serviceaccount:(.+)$/.exec(user) ?? [];
  const who = account === undefined ? `user ${user}` : `service account ${account.replace(":", "/")}`;
  const [kind = "", subresource] = resource.split("/");
  const part = subresource === undefined ? "" : ` --subresource=${subresource}`;
  return new MeshError(
    "permission_denied",
    `${who} may not ${verb} ${resource} "${name}" in namespace ${namespace}: the rule is made by ${grantedBy}`,
    {
      hint: `see it with: kubectl auth can-i ${verb} ${kind}/${name}${part} -n ${namespace} --as=${user}`,
      // Whoever forgot the rule adds it, and nobody should have to restart a pod for that.
      retriable: true,
      cause,
    },
  );
}
