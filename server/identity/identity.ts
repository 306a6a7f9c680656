import type { Clock } from "../../common/runtime/clock.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { PeerIdentity } from "../../common/session/tls.ts";
import type { RenewCertificateRequest, RenewCertificateResponse } from "../../proto/gen/relay/v1/relay.ts";
import type { ClusterStore } from "./cluster-store.ts";
import type { RelayPki } from "./pki.ts";
import { ClusterRegistry } from "./registry.ts";
import { RelayCaRotation } from "./rotation.ts";

export interface ServerIdentityDeps {
  readonly pki: RelayPki;
  readonly store: ClusterStore;
  /** True: the certificates come from somebody else, who vouches for the names in them. */
  readonly ownCertificates?: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** The server's identity room: its certificates, and who may talk to it. */
export interface ServerIdentity {
  readonly pki: RelayPki;
  readonly registry: ClusterRegistry;
  readonly rotation: RelayCaRotation;
  /** Answers RelayService.RenewCertificate for the certificate that was presented. */
  renew(peer: PeerIdentity, request: RenewCertificateRequest): Promise<RenewCertificateResponse>;
}

/** Wires the room. Keep `pki.run` going. */
export function serverIdentity(deps: ServerIdentityDeps): ServerIdentity {
  const { pki, store, ownCertificates = false, clock, log } = deps;
  const registry = new ClusterRegistry({ store, ca: pki.ca, ownCertificates, clock, log });
  return {
    pki,
    registry,
    rotation: new RelayCaRotation({ pki, store, clock, log }),
    renew: async (peer, { certificateSigningRequest }) => {
      const { chainPem, trustBundlePem } = await registry.renew(peer, certificateSigningRequest);
      return { certificateChain: chainPem, trustBundle: trustBundlePem, serverTime: new Date(clock.now()) };
    },
  };
}
