import * as z from "zod";
import { parseHostPort } from "../common/runtime/settings.ts";

/**
 * The relay's address as an agent dials it. A load balancer that has none yet leaves ":9900" in a script, which would be
 * noticed only by an agent that never comes: so each fault is named here.
 */
export const relayAddress = z.string().superRefine((text, context) => {
  const fault = faultOf(text);
  if (fault !== undefined) context.addIssue({ code: "custom", message: `must be host:port, got "${text}": ${fault}` });
});

function faultOf(text: string): string | undefined {
  if (/^\w+:\/\//.test(text)) return "it has a scheme";
  if (/^(:\d*)?$/.test(text)) return "the host is missing; has the load balancer an address yet?";
  const parsed = parseHostPort(text);
  if (parsed) return parsed.port === 0 ? "port 0 cannot be dialled" : undefined;
  return /:\d+$/.test(text) ? "it is no host and port" : "the port is missing; the relay's is 9900";
}
