import type { Attack } from "./battlefield.ts";
import { CERTIFICATE_ATTACKS } from "./certificates.ts";
import { FLOODS } from "./floods.ts";
import { PROTOCOL_ATTACKS } from "./protocol.ts";

/** Every attack that is tried; SECURITY.md lists the same ones. */
export const ATTACKS: readonly Attack[] = [...CERTIFICATE_ATTACKS, ...PROTOCOL_ATTACKS, ...FLOODS];
