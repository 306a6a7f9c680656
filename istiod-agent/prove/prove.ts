import { createCsr } from "../../common/pki/csr.ts";
import { generateKey } from "../../common/pki/keys.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import type { SigningCa } from "../issue/signing-ca.ts";
import { judge, judgeFailure, type ProofOutcome } from "./outcome.ts";

/** Istio's CreateCertificate at one istiod: a request in PEM, back come leaf, intermediates and root file in PEM. */
export type CreateCertificate = (csrPem: string, signal: AbortSignal) => Promise<readonly string[]>;

export interface ProofDeps {
  readonly createCertificate: CreateCertificate;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Asks istiod once for a throwaway certificate and judges what signed it. Rejects only when `signal` is aborted. */
export async function prove(ca: SigningCa, { createCertificate, clock, signal }: ProofDeps): Promise<ProofOutcome> {
  const key = await generateKey({ type: "ec", curve: "P-256" });
  // Istio names the leaf by the caller's token; the name here is only for its log.
  const csr = await createCsr({ key, uriSans: ["spiffe://cluster.local/ns/istio-system/sa/mesh-relay-proof"] });
  try {
    const chain = await createCertificate(csr, signal);
    return judge({ chain, leafKey: key, ca, nowMs: clock.now() });
  } catch (error) {
    signal.throwIfAborted();
    return judgeFailure(error);
  }
}

export interface ProofWindow extends ProofDeps {
  /** Milliseconds in which istiod should have taken the files; it takes 0.1 to 0.3 s when all is well. */
  readonly windowMs: number;
  /** Milliseconds between two questions. */
  readonly intervalMs: number;
  /** Makes istiod read the files again. */
  readonly touch: () => void;
}

/** The last outcome, and whether the files had to be touched. */
export type WindowOutcome = ProofOutcome & { readonly touched: boolean };

/**
 * Asks until it is proved. When the window passes without that, and somebody answers, the files are touched once,
 * because istiod does not read a set again that it refused, and a second window is given.
 */
export async function proveWithin(ca: SigningCa, options: ProofWindow): Promise<WindowOutcome> {
  const first = await proveInWindow(ca, options);
  if (first.kind === "proved" || first.kind === "absent") return { ...first, touched: false };
  options.touch();
  return { ...(await proveInWindow(ca, options)), touched: true };
}

async function proveInWindow(ca: SigningCa, options: ProofWindow): Promise<ProofOutcome> {
  const { clock, signal, windowMs, intervalMs } = options;
  const endMs = clock.now() + windowMs;
  for (;;) {
    const outcome = await prove(ca, options);
    if (outcome.kind === "proved" || clock.now() + intervalMs > endMs) return outcome;
    await clock.sleep(intervalMs, signal);
  }
}
