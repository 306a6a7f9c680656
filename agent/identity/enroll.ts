import { createCsr } from "../../common/pki/csr.ts";
import { loadPrivateKey } from "../../common/pki/keys.ts";
import { VERSION } from "../../common/runtime/version.ts";
import { Dialer } from "../../common/session/client.ts";
import { EnrollmentServiceService, type EnrollResponse } from "../../proto/gen/enrollment/v1/enrollment.ts";

/** Where the agent enrols. */
export interface EnrollmentTarget {
  /** host:port */
  readonly address: string;
  /** Name to verify in the server's certificate, where it is not the host. */
  readonly authority?: string | undefined;
}

const CALL_TIMEOUT_MS = 15_000;

export interface EnrollCall {
  readonly target: EnrollmentTarget;
  readonly rootsPem: string;
  readonly token: string;
  readonly keyPem: string;
}

/** Asks once. The token is sent only to a server that one of the roots vouches for. */
export async function enroll(
  { target, rootsPem, token, keyPem }: EnrollCall,
  signal: AbortSignal,
): Promise<EnrollResponse> {
  const { address, authority } = target;
  const dialer = new Dialer({
    address,
    tls: { rootsPem, minVersion: "TLSv1.3" },
    peer: `management server ${address}`,
    ...(authority ? { authority } : {}),
  });
  try {
    const request = {
      token,
      certificateSigningRequest: await createCsr({ key: loadPrivateKey(keyPem) }),
      agentVersion: VERSION,
    };
    return await dialer.unary(EnrollmentServiceService.enroll, request, { signal, timeoutMs: CALL_TIMEOUT_MS });
  } finally {
    dialer.close();
  }
}
