import { parseCertificate, certificateFacts } from "../../common/pki/certificate.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { IssueOrder } from "./order.ts";
import { signingMount } from "./paths.ts";
import { planRenewal } from "./plan.ts";
import type { SigningCa } from "./signing-ca.ts";

/** Clocks differ and Vault takes its time; less than this is not a shorter life. */
const TOLERANCE_MS = 60_000;

/**
 * Compares the life that was given with the one wanted: nothing, or one warning "LifetimeShortened: …" with the command
 * that mends it. Throws `ca_unsound` when a renewal would be due at once.
 */
export function checkLifetime(order: IssueOrder, ca: SigningCa, nowMs: number): readonly string[] {
  const { notAfterMs } = ca.facts;
  const { ttlSeconds, graceRatio, spreadKey } = order;
  const given = `${formatSeconds((notAfterMs - nowMs) / 1000)} of the ${formatSeconds(ttlSeconds)} wanted`;
  if (planRenewal({ ...ca.facts, graceRatio, spreadKey }).renewAtMs <= nowMs) {
    throw new MeshError("ca_unsound", `certificate ${ca.facts.serial}: ${given} left, a renewal would be due at once`, {
      hint: remedy(order, ca),
    });
  }
  const short = notAfterMs - nowMs < ttlSeconds * 1000 - TOLERANCE_MS;
  return short ? [`LifetimeShortened: vault gave ${given}; ${remedy(order, ca)}`] : [];
}

function remedy({ ttlSeconds, vault: { caPath } }: IssueOrder, ca: SigningCa): string {
  const above = [...ca.chainPems.slice(1), ca.rootPem].map((pem) => certificateFacts(parseCertificate(pem)));
  const capping = above.find(({ notAfterMs }) => notAfterMs === ca.facts.notAfterMs);
  if (capping) return `its issuer "${capping.subject}" ends then: renew that one`;
  const { mount } = signingMount(caPath);
  const hours = Math.ceil(ttlSeconds / 3600);
  return `to allow more: vault secrets tune -max-lease-ttl=${hours}h ${mount ?? "MOUNT"}`;
}

/** "32d", "5h", "90s": the largest unit that leaves at least two of it. */
function formatSeconds(seconds: number): string {
  if (seconds >= 2 * 86_400) return `${Math.round(seconds / 86_400)}d`;
  if (seconds >= 2 * 3_600) return `${Math.round(seconds / 3_600)}h`;
  return `${Math.round(seconds)}s`;
}
