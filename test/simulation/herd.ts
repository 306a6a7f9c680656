import type { World } from "./world.ts";

/** Lets so much time of the world pass. */
type Pass = (ms: number) => Promise<void>;

/** Servers, agents or all of them die and are back at once, as after a cut of the power. */
export async function stampede(world: World, pass: Pass): Promise<void> {
  const which = world.dice.between(1, 3);
  const all = [...(which & 1 ? world.replicas : []), ...(which & 2 ? world.agents : [])];
  world.note(() => `* all die: ${all.length}`);
  for (const it of all) if (it.process.isAlive) world.kill(it);
  await pass(world.dice.pick([0, 3_000, 60_000]));
  for (const it of all) it.start();
}

/**
 * Once everything works, and within `settleMs` whoever was left half-open has noticed that, all of the herd are in as soon
 * as there was a place for each: nobody is passed over. Throws otherwise.
 */
export async function comeBack({ agents, replicas, scenario }: World, settleMs: number, pass: Pass): Promise<void> {
  const { hellosPerSecond = 1 } = scenario;
  await pass(settleMs + (agents.length * 1000) / hellosPerSecond);
  const away = agents.filter(({ cluster }) => !replicas.some(({ hub }) => hub?.agents.isConnected(cluster)));
  if (away.length > 0) throw new Error(`${away.length} of ${agents.length} agents were not let in`);
}
