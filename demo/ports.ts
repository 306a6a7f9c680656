import { once } from "node:events";
import { createServer } from "node:net";
import { MeshError } from "../common/runtime/errors.ts";
import { formatHostPort, type HostPort } from "../common/runtime/settings.ts";

const RELAY_PORT = 9900;
const ENROLLMENT_PORT = 9901;
const ISTIOD_PORT = 9977;

/** Listens for a moment. Returns the system's code where that fails. */
export type TryListen = (address: HostPort) => Promise<string | undefined>;

/** Addresses that are the same on every run. All other listeners take free ports. */
export interface FixedAddresses {
  readonly relay: HostPort;
  readonly enrollment: HostPort;
  /** One per cluster. */
  readonly agents: readonly HostPort[];
}

/**
 * The fixed addresses. Agents share a port and have a loopback address each; where the machine has no further one, they
 * share the address and have a port each. Throws `port_in_use` naming every address that another process has.
 */
export async function planAddresses(
  clusters: number,
  portOffset: number,
  tryListen: TryListen = listenForAMoment,
): Promise<FixedAddresses> {
  const agents: HostPort[] = [];
  for (let index = 0; index < clusters; index++) {
    const own = { host: `127.0.0.${index + 1}`, port: ISTIOD_PORT + portOffset };
    const missing = (await tryListen(own)) === "EADDRNOTAVAIL";
    agents.push(missing ? { host: "127.0.0.1", port: own.port + index } : own);
  }
  const relay = { host: "127.0.0.1", port: RELAY_PORT + portOffset };
  const enrollment = { host: "127.0.0.1", port: ENROLLMENT_PORT + portOffset };
  const taken: string[] = [];
  for (const address of [relay, enrollment, ...agents]) {
    if ((await tryListen(address)) === "EADDRINUSE") taken.push(formatHostPort(address));
  }
  if (taken.length > 0) {
    throw new MeshError("port_in_use", `another process listens on ${taken.join(" and ")}`, {
      hint: "stop it, or move all fixed ports out of the way, e.g. --port-offset 100",
    });
  }
  return { relay, enrollment, agents };
}

async function listenForAMoment({ host, port }: HostPort): Promise<string | undefined> {
  const server = createServer().listen({ host, port, exclusive: true });
  try {
    await once(server, "listening");
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "unknown";
  } finally {
    server.close();
  }
}
