import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { collectDefaultMetrics, Registry } from "prom-client";
import { MeshError } from "./errors.ts";
import { formatHostPort, parseHostPort } from "./settings.ts";

export { Counter, Gauge, Histogram, Registry } from "prom-client";

/** One answer of a health path: ok, or the reasons why not. */
export type Check = () => readonly string[];

export interface MonitorOptions {
  /** host:port */
  readonly listen: string;
  readonly registry: Registry;
  /** Reasons why the program cannot serve; empty when it can. Served on /readyz. */
  readonly ready: Check;
  /** Further paths with the same form, e.g. "/renewalz". */
  readonly checks?: Readonly<Record<string, Check>>;
}

export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

/**
 * Serves /metrics, /livez and /readyz until `signal` is aborted. /livez is true while the event loop turns: it never
 * depends on another program. `onListening` gets the address in use.
 */
export async function runMonitor(
  options: MonitorOptions,
  signal: AbortSignal,
  onListening: (address: string) => void = () => undefined,
): Promise<void> {
  const checks = new Map(Object.entries({ "/livez": () => [], "/readyz": options.ready, ...options.checks }));
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    const check = checks.get(path);
    if (request.method !== "GET" && request.method !== "HEAD") response.writeHead(405).end();
    else if (check) {
      const reasons = check();
      response.writeHead(reasons.length === 0 ? 200 : 503, { "content-type": "text/plain" });
      response.end(reasons.length === 0 ? "ok\n" : `${reasons.join("\n")}\n`);
    } else if (path === "/metrics") {
      options.registry.metrics().then(
        (text) => response.writeHead(200, { "content-type": options.registry.contentType }).end(text),
        () => response.writeHead(500).end(),
      );
    } else response.writeHead(404).end(`not found; try /metrics, ${[...checks.keys()].join(", ")}\n`);
  });
  const address = parseHostPort(options.listen);
  if (!address) throw new MeshError("config_invalid", `${options.listen} is not host:port`);
  server.listen(address.port, address.host || undefined);
  try {
    // Not given up half-way: a server that is about to listen cannot be closed yet.
    await once(server, "listening");
  } catch (error) {
    throw listenError(error, options.listen);
  }
  const { address: host, port } = server.address() as AddressInfo;
  onListening(formatHostPort({ host, port }));
  if (!signal.aborted) await once(signal, "abort");
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

/** A listener's fault, with the flag-level hint that people need. */
export function listenError(thrown: unknown, address: string): MeshError {
  const error = MeshError.from(thrown);
  const taken = error.code === "port_in_use" || /EADDRINUSE/.test(error.message);
  return new MeshError(
    taken ? "port_in_use" : error.code,
    `cannot listen on ${address}: ${taken ? "the address is in use" : error.message}`,
    {
      cause: thrown,
      hint: taken
        ? `find the program with: ss -ltnp 'sport = :${address.split(":").at(-1) ?? ""}', or choose another address`
        : "check that the address belongs to this machine",
    },
  );
}
