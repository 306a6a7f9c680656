/** `npm run clusters:up`, `npm run clusters:down`: two real Kubernetes clusters on this machine. */
import { once } from "node:events";
import { MeshError } from "../../common/runtime/errors.ts";
import { command, runProgram } from "../../common/runtime/process.ts";
import { downOptions, fleetOptions, upOptions } from "./config.ts";
import { attach, everythingDown, fleetDown, reloadImages, type Fleet } from "./fleet.ts";
import { missingForClusters } from "./needs.ts";
import type { OnStep } from "./make.ts";
import { fleetUp } from "./stages.ts";

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** Prints each step with the seconds since the start. */
function stepsSinceNow(): OnStep {
  const startedAt = performance.now();
  return (cluster, step) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    say(`${seconds.padStart(6)} s  ${cluster.padEnd(10)} ${step}`);
  };
}

function demandClusters(): void {
  const reason = missingForClusters();
  if (reason !== undefined) throw new MeshError("failed_precondition", reason);
}

/** Ends the wait when the user interrupts; what is made by then is taken up or down by the next command. */
async function interruptible<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const interrupted = once(signal, "abort").then(() => signal.throwIfAborted());
  return (await Promise.race([work, interrupted])) as T;
}

async function describe({ plan, kubeconfig, clusters }: Fleet): Promise<void> {
  for (const { name, plan: place, node } of clusters) {
    const megabytes = ((await node.memoryBytes()) / 1e6).toFixed(0);
    say(`${name}: API server https://${place.nodeAddress}:6443, node ${place.nodeName}, ${megabytes} MB resident`);
    say(`  logs ${place.directory}/logs, a shell on the node: nsenter ${node.entering.join(" ")}`);
  }
  say(`bridge ${plan.bridge} at ${plan.hostAddress}`);
  say(`export KUBECONFIG=${kubeconfig}`);
}

await runProgram("clusters", "Real Kubernetes clusters on this machine, without containers and without a registry.", [
  command({
    name: "up",
    description: "bring clusters up; what is up already is left as it is",
    options: upOptions,
    oneShot: true,
    run: async ({ fleet: name, clusters: count, until }, { signal }) => {
      demandClusters();
      const up = fleetUp({ name, count, until, onStep: stepsSinceNow() });
      await describe(await interruptible(signal, up));
    },
  }),
  command({
    name: "reload",
    description: "bring running clusters our images as dist/ has them now",
    options: fleetOptions,
    oneShot: true,
    run: async ({ fleet: name }) => {
      demandClusters();
      const images = await reloadImages(await attach(name), stepsSinceNow());
      for (const { references, sizeBytes } of images)
        say(`${references.join(", ")}: ${(sizeBytes / 1e6).toFixed(0)} MB`);
      say("pods get them when they are made anew: kubectl rollout restart");
    },
  }),
  command({
    name: "show",
    description: "say what runs where",
    options: fleetOptions,
    oneShot: true,
    run: async ({ fleet: name }) => describe(await attach(name)),
  }),
  command({
    name: "down",
    description: "take clusters down and leave nothing behind",
    options: downOptions,
    oneShot: true,
    run: async ({ fleet: name, all }) => (all ? everythingDown() : fleetDown(name)),
  }),
]);
