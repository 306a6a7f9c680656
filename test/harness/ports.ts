import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { MeshError } from "../../common/runtime/errors.ts";

/** Below the range from which systems take the ports of outgoing connections, so that none of these takes ours. */
const LOWEST = 15_000;
const HIGHEST = 32_000;
const ATTEMPTS = 50;

/**
 * A TCP port of `host` that is free now, for programs that cannot say which port 0 gave them. Drawn at random, because
 * test files run side by side and each must get another one.
 */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = randomInt(LOWEST, HIGHEST);
    if (await isFree(port, host)) return port;
  }
  throw new MeshError("resource_exhausted", `no free port on ${host} in ${ATTEMPTS} attempts`);
}

async function isFree(port: number, host: string): Promise<boolean> {
  const server = createServer().listen({ port, host, exclusive: true });
  try {
    await once(server, "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
