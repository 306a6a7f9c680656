import * as z from "zod";

/** `host:port` as written on a flag; an IPv6 host stands in brackets. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const HOST_PORT = /^(?:\[(?<v6>[0-9a-fA-F:]+)\]|(?<host>[^:\s]*)):(?<port>\d{1,5})$/;

/** Parses `host:port`; undefined when it is not one. An empty host is kept for listeners (all addresses). */
export function parseHostPort(text: string): HostPort | undefined {
  const groups = HOST_PORT.exec(text)?.groups;
  const port = Number(groups?.["port"]);
  if (!groups || port > 65535) return undefined;
  return { host: groups["v6"] ?? groups["host"] ?? "", port };
}

export const formatHostPort = ({ host, port }: HostPort): string =>
  `${host.includes(":") ? `[${host}]` : host}:${port}`;

/** A `host:port` to dial. */
export const dialAddress = z.string().refine((text) => (parseHostPort(text)?.host ?? "") !== "", {
  error: (issue) => `must be host:port, got "${String(issue.input)}"`,
});

/** A `host:port` to listen on; port 0 takes a free one. */
export const listenAddress = z.string().refine((text) => parseHostPort(text) !== undefined, {
  error: (issue) => `must be host:port, got "${String(issue.input)}"`,
});

/** A `host:port` to listen on that only this machine can reach: what is served there asks nobody who he is. */
export const loopbackAddress = listenAddress.refine((text) => isLoopback(parseHostPort(text)?.host ?? ""), {
  error: (issue) => `must be a loopback address such as 127.0.0.1:11100, got "${String(issue.input)}"`,
});

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);

const UNIT_SECONDS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 };

/** A duration such as "500ms", "30s", "5m", "24h" or "30d"; parsed to milliseconds. */
export const durationMs = z.union([z.number(), z.string()]).transform((input, context): number => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(String(input));
  const unit = UNIT_SECONDS[match?.[2] ?? ""];
  if (match && unit !== undefined) return Number(match[1]) * unit * 1000;
  context.addIssue({ code: "custom", message: `must be a duration such as 30s, 5m or 24h, got "${String(input)}"` });
  return z.NEVER;
});

/** A switch: true or false, also as text. */
export const booleanSwitch = z.union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")]);

/** A DNS label (RFC 1123), as names of clusters are. */
export const dnsLabel = z
  .string()
  .regex(
    /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/,
    "must be a dns label: lower-case letters, digits and dashes, at most 63",
  );
