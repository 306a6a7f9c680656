import { AGENT, questions, SERVER, type Question } from "../real/chart-rights.ts";
import type { AuditedRequest } from "./audit.ts";

/**
 * Pure: the rights that none of these requests has used. A request counts for the narrowest right that covers it, so that
 * no right by name or in one namespace hides behind a wider one, nor the other way round.
 */
export function unusedRights(rights: readonly Question[], requests: readonly AuditedRequest[]): Question[] {
  const used = new Set(requests.filter(({ isAllowed }) => isAllowed).map((request) => narrowest(rights, request)));
  return rights.filter((right) => !used.has(right));
}

function narrowest(rights: readonly Question[], request: AuditedRequest): Question | undefined {
  const covering = rights.filter((right) => covers(right, request));
  return covering.sort((a, b) => width(a) - width(b))[0];
}

function covers(right: Question, request: AuditedRequest): boolean {
  const isSame = right.user === request.user && right.verb === request.verb && right.resource === request.resource;
  const isThere = right.namespace === undefined || right.namespace === request.namespace;
  const isNamed = right.name === undefined || right.name === request.name;
  return isSame && (right.group ?? "") === request.group && isThere && isNamed;
}

const width = ({ namespace, name }: Question): number =>
  (namespace === undefined ? 2 : 0) + (name === undefined ? 1 : 0);

const CERTIFICATES = "certificates.mesh.gloo.solo.io";

/** The rights that pods are restarted by, which `restarts.test.ts` uses all. */
export const RIGHTS_OF_RESTARTS: readonly Question[] = [
  ...questions(AGENT, "gloo-mesh", [
    ["create patch", "podbouncedirectives", CERTIFICATES],
    ["patch", "podbouncedirectives/status", CERTIFICATES],
  ]),
  ...questions(AGENT, undefined, [
    ["list", "pods"],
    ["get", "daemonsets", "apps"],
    ["get", "statefulsets", "apps"],
    ["get", "replicationcontrollers"],
    ["create", "pods/eviction"],
  ]),
];

/** The right to count a fault that comes again, which `credentials.test.ts` uses, where logins fail. */
export const RIGHTS_OF_CREDENTIALS: readonly Question[] = questions(AGENT, "gloo-mesh", [
  ["patch", "events", "events.k8s.io"],
]);

/** What takes ten minutes in a pod, and by which test it is done on an API server alone, by an account with the chart's rights. */
export const RIGHTS_USED_WITHOUT_PODS: readonly (readonly [file: string, test: string, rights: readonly Question[]])[] =
  [
    [
      "server-housekeeping.test.ts",
      "real housekeeping - the leader takes away what a replica left that died long ago, and nothing else",
      questions(SERVER, "gloo-mesh", [["delete", "leases", "coordination.k8s.io"]]),
    ],
    [
      "agent-kubernetes.test.ts",
      "real agent - refuses a name that somebody else has taken and leaves it to him, and deletes what is let go",
      questions(AGENT, "gloo-mesh", [["delete", "issuedcertificates", CERTIFICATES]]),
    ],
  ];
