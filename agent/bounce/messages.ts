import type { Reason } from "./decide.ts";
import type { MeshRestart } from "./mesh-restart.ts";
import { ROOT_CONFIG_MAP } from "./namespace-root.ts";
import { describeWaits } from "./progress.ts";

/** What people must know before it begins. */
const outage = ({ changedRoot }: Reason): string =>
  `traffic between restarted and unrestarted pods ${changedRoot === undefined ? "may fail" : "fails"} meanwhile`;

/** Said before the first pod is restarted. */
export function announce(restart: MeshRestart): string {
  const { reason, plan } = restart;
  const count = (isGateway: boolean): number =>
    (plan?.groups ?? [])
      .filter((group) => group.isGateway === isGateway)
      .reduce((sum, { oldPods }) => sum + oldPods, 0);
  const first = count(true);
  const then = restart.remaining - first;
  return [
    `${why(reason)}: ${pods(first)} of gateways, then ${pods(then)} will be restarted`,
    outage(reason),
    waits(restart),
  ]
    .filter(Boolean)
    .join("; ");
}

/** Said while pods are restarted. */
export function tellProgress(restart: MeshRestart, restarted: number): string {
  const { reason, remaining } = restart;
  return [`${why(reason)}: ${pods(restarted)} restarted, ${remaining} to go`, outage(reason), waits(restart)]
    .filter(Boolean)
    .join("; ");
}

/** Said when nothing is left to do. */
export function tellEnd(restarted: number, unmanaged: number): string {
  const left = `${pods(unmanaged)} that nobody would replace must be restarted by hand`;
  return [`${pods(restarted)} restarted`, ...(unmanaged > 0 ? [left] : [])].join("; ");
}

function why({ changedRoot, requestedMs }: Reason): string {
  const asked = requestedMs === undefined ? "" : `a restart was asked for at ${new Date(requestedMs).toISOString()}`;
  return changedRoot === undefined ? asked : `the root changed to ${changedRoot.slice(0, 16)}…`;
}

function waits({ groups, plan }: MeshRestart): string {
  const text = describeWaits(groups, plan?.waiting ?? [], ROOT_CONFIG_MAP);
  return text && `waits for ${text}`;
}

const pods = (count: number): string => (count === 1 ? "1 pod" : `${count} pods`);
