import { isIP } from "node:net";
import * as z from "zod";

/** Where to connect for one host and port, whatever the name service says; as curl's `--resolve`. */
export interface ResolveOverride {
  /** Lower case, without brackets. */
  readonly host: string;
  readonly port: number;
  /** IP address, without brackets. */
  readonly address: string;
  /** Port to connect to instead of `port`. */
  readonly addressPort?: number;
}

const OVERRIDE =
  /^(?<host>\[[0-9a-fA-F:]+\]|[^:\s[\]]+):(?<port>\d{1,5}):(?<address>\[[0-9a-fA-F:]+\]|[0-9.]+)(?::(?<addressPort>\d{1,5}))?$/;

/** Parses `HOST:PORT:ADDRESS[:PORT]`; an IPv6 address stands in brackets. undefined for anything else. */
export function parseResolveOverride(text: string): ResolveOverride | undefined {
  const groups = OVERRIDE.exec(text)?.groups;
  if (!groups) return undefined;
  const address = unbracket(groups["address"] ?? "");
  const port = Number(groups["port"]);
  const addressPort = groups["addressPort"] === undefined ? undefined : Number(groups["addressPort"]);
  if (isIP(address) === 0 || !isPort(port) || (addressPort !== undefined && !isPort(addressPort))) return undefined;
  return {
    host: unbracket(groups["host"] ?? "").toLowerCase(),
    port,
    address,
    ...(addressPort === undefined ? {} : { addressPort }),
  };
}

/** A setting that holds one override, e.g. "vault.vault:8200:127.0.0.1:43211". */
export const resolveOverride = z.string().transform((text, context): ResolveOverride => {
  const parsed = parseResolveOverride(text);
  if (parsed) return parsed;
  context.addIssue({ code: "custom", message: `must be HOST:PORT:ADDRESS or HOST:PORT:ADDRESS:PORT, got "${text}"` });
  return z.NEVER;
});

/** Where to open the connection for `url`: the override for its host and port, else its own. */
export function connectTarget(url: URL, overrides: readonly ResolveOverride[]): { host: string; port: number } {
  const host = unbracket(url.hostname).toLowerCase();
  const port = Number(url.port) || (url.protocol === "https:" ? 443 : 80);
  const found = overrides.find((override) => override.host === host && override.port === port);
  return found ? { host: found.address, port: found.addressPort ?? port } : { host, port };
}

/** A host without the brackets that an IPv6 address wears in URLs. */
export function unbracket(host: string): string {
  return host.startsWith("[") ? host.slice(1, -1) : host;
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}
