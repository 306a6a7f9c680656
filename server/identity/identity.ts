import type { Clock } from "../../common/runtime/clock.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import type { PeerIdentity } from "../../common/session/tls.ts";
import type { RenewCertificateRequest, RenewCertificateResponse } from "../../proto/gen/relay/v1/relay.ts";
import { ClusterStore } from "./cluster-store.ts";
import { Epochs } from "./epochs.ts";
import { ClusterRegistry } from "./registry.ts";
import { openRelayCa, type RelayCa, type ServerNames } from "./relay-ca.ts";
import { ServerCertificate } from "./server-certificate.ts";

export interface ServerIdentityOptions {
  readonly directory: Pick<StateDirectory, "document" | "file">;
  readonly names: ServerNames;
  readonly clock: Clock;
  readonly log: Log;
}

/** The server's identity room: its CA, its own certificate, and who may talk to it. */
export interface ServerIdentity {
  readonly ca: RelayCa;
  readonly certificate: ServerCertificate;
  readonly registry: ClusterRegistry;
  readonly epochs: Epochs;
  /** Answers RelayService.RenewCertificate for the certificate that was presented. */
  renew(peer: PeerIdentity, request: RenewCertificateRequest): Promise<RenewCertificateResponse>;
}

/** Opens the room; the first start makes CA and records. Keep `certificate.run` going. */
export async function openServerIdentity(options: ServerIdentityOptions): Promise<ServerIdentity> {
  const { directory, names, clock, log } = options;
  const ca = await openRelayCa(directory, clock);
  const store = await ClusterStore.open(directory);
  const registry = new ClusterRegistry({ store, ca, clock, log });
  return {
    ca,
    registry,
    epochs: await Epochs.open(directory),
    certificate: await ServerCertificate.create({ ca, names, clock, log }),
    renew: async (peer, { certificateSigningRequest }) => ({
      certificateChain: (await registry.renew(peer, certificateSigningRequest)).chainPem,
      trustBundle: ca.trustBundlePem,
      serverTime: new Date(clock.now()),
    }),
  };
}
