import {
  RelayServiceService,
  type ConnectRequest,
  type ConnectResponse,
  type RenewCertificateRequest,
  type RenewCertificateResponse,
} from "../../proto/gen/relay/v1/relay.ts";
import type { ClientStream, Dialer } from "../../common/session/client.ts";

/** The agent's end of one session. */
export type RelayStream = Pick<ClientStream<ConnectRequest, ConnectResponse>, "messages" | "write" | "drained">;

/** What the relay needs of a connection to the management server: all that is not deciding. */
export interface RelayChannel {
  /** Opens the stream of a session; `signal` ends it. */
  connect(signal: AbortSignal): RelayStream;
  renew(request: RenewCertificateRequest, signal: AbortSignal): Promise<RenewCertificateResponse>;
  /** Gives the connection up. */
  close(): void;
}

const RENEW_TIMEOUT_MS = 10_000;

/** RelayService over a channel of gRPC. */
export const relayChannel = (dialer: Dialer): RelayChannel => ({
  connect: (signal) => dialer.bidi(RelayServiceService.connect, signal),
  renew: (request, signal) =>
    dialer.unary(RelayServiceService.renewCertificate, request, { signal, timeoutMs: RENEW_TIMEOUT_MS }),
  close: () => dialer.close(),
});
