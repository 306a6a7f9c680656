/** A program that stands for a Lease until it is stopped: kubeconfig and identity are its arguments. */
import { once } from "node:events";
import { KubeClient } from "../../common/kube/client.ts";
import { LeaseCandidate } from "../../common/kube/lease.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { silentLog } from "../../common/runtime/log.ts";

const [, , kubeconfig, identity = ""] = process.argv;
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
const candidate = new LeaseCandidate({
  client: KubeClient.open(kubeconfig),
  namespace: "gloo-mesh",
  name: "enterprise-networking",
  identity,
  clock: systemClock,
  random: Math.random,
  log: silentLog,
  durationMs: 3_000,
});
await candidate.run(async (signal, term) => {
  process.stdout.write(`leads ${term}\n`);
  if (!signal.aborted) await once(signal, "abort");
  process.stdout.write(`stops ${term}\n`);
}, stop.signal);
process.exit();
