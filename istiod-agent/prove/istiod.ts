import { Dialer, NO_PROXY } from "../../common/session/client.ts";
import { IstioCertificateServiceService } from "../../proto/gen/istio/v1/auth/ca.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { RenewableCredential } from "../pod/credential.ts";
import type { CreateCertificate } from "./prove.ts";

export interface IstiodOptions {
  /** "host:port" of istiod's TLS port, e.g. "127.0.0.1:15012". */
  readonly address: string;
  /** Name in istiod's certificate, e.g. "istiod.istio-system.svc". */
  readonly serverName: string;
  /** PEM roots to verify istiod with: root-cert.pem, and the root before it while istiod may still show that. */
  readonly rootsPem: () => string;
  /** A service account token of audience "istio-ca", read at each call. */
  readonly token: RenewableCredential;
  /** Milliseconds until one call is given up. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 5_000;
/** Istio refuses more than its maximum; an hour is below every default, and nobody uses the certificate. */
const VALIDITY_SECONDS = 3600n;

/** Istio's CreateCertificate at the istiod beside us. Each call has a connection of its own, as istiod restarts at will. */
export function istiodClient(options: IstiodOptions): CreateCertificate {
  return async (csrPem, signal) => {
    const { address, serverName, rootsPem, timeoutMs = TIMEOUT_MS } = options;
    const token = await options.token.read(signal);
    const dialer = new Dialer({
      address,
      tls: { rootsPem: rootsPem(), minVersion: "TLSv1.2" },
      peer: `istiod ${address}`,
      authority: serverName,
      headers: () => ({ authorization: `Bearer ${token}` }),
      channelOptions: NO_PROXY,
    });
    try {
      const { createCertificate } = IstioCertificateServiceService;
      const request = { csr: csrPem, validityDuration: VALIDITY_SECONDS, metadata: undefined };
      return (await dialer.unary(createCertificate, request, { signal, timeoutMs })).certChain;
    } catch (error) {
      if (MeshError.from(error).code === "unauthenticated") options.token.forget();
      throw error;
    } finally {
      dialer.close();
    }
  };
}
