import { MeshError } from "../../common/runtime/errors.ts";
import type { Side } from "./side.ts";

/** Results that there must be by now: sent by the agents, and counted by the server where all of them count. */
export interface Expected {
  readonly sent: number;
  readonly counted?: number;
}

/**
 * A server that is fast because it loses results, sends more than it must, or leaves agents with something else than is
 * wanted, would be no limit to be held against. Throws `internal`.
 */
export async function check(name: string, { server, load }: Side, expected: Expected): Promise<void> {
  const sent = await load.call("results", null);
  if (sent !== expected.sent) throw new MeshError("internal", `${name}: ${sent} results sent, want ${expected.sent}`);
  const counted = await server.call("results", null);
  if (expected.counted !== undefined && counted !== expected.counted) {
    throw new MeshError("internal", `${name}: ${counted} results counted, want ${expected.counted}`);
  }
  const [wanted, held] = await Promise.all([server.call("wanted", null), load.call("held", null)]);
  if (wanted !== held) throw new MeshError("internal", `${name}: the agents do not hold what is wanted`);
}
