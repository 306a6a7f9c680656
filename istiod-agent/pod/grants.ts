import type { ResourceName } from "../../proto/gen/certificates/v1/certificates.ts";
import type { GrantedName } from "../../common/kube/incluster/resources.ts";
import type { PodContext } from "./context.ts";

/** Whose Roles give an istiod-agent its rights; a missing one is named with the value that makes it. */
const CHART = "chart enterprise-agent with istiodSidecar";
/** Accounts of istiod that the chart knows without being told. */
const KNOWN_ACCOUNTS = ["istio-system/istiod", "istio-system/istiod-service-account"];

/** What every account of istiod may use, once the chart knows it. */
export function everyIstiods(object: ResourceName, { podNamespace, serviceAccount }: PodContext): GrantedName {
  const known = KNOWN_ACCOUNTS.includes(`${podNamespace}/${serviceAccount}`);
  const account = { namespace: podNamespace, name: serviceAccount };
  return granted(object, `createRoleBinding: true${known ? "" : ` and ${entry("istiodServiceAccounts", account)}`}`);
}

/** What may be used only where a list of the chart names it. */
export function listed(object: ResourceName, list: "tokenSecrets" | "serviceAccounts"): GrantedName {
  return granted(object, entry(list, object));
}

const entry = (list: string, { namespace, name }: ResourceName): string =>
  `${list}: [{namespace: ${namespace}, name: ${name}}]`;

const granted = ({ namespace, name }: ResourceName, value: string): GrantedName => ({
  ...{ namespace, name },
  grantedBy: `${CHART}.${value}`,
});
