import { ConnectResponse, RelayServiceService, type RenewCertificateRequest } from "../../proto/gen/relay/v1/relay.ts";
import { encodeMessage } from "../../common/session/encode.ts";
import { bidi, unary } from "../../common/session/handlers.ts";
import type { ServerIdentity } from "../identity/identity.ts";
import type { ClusterPrincipal } from "../identity/methods.ts";
import type { Hub } from "./hub.ts";
import type { Outgoing } from "./session.ts";

export const RELAY_SERVICE = "relay.v1.RelayService";

/** The service as generated, except that messages which are bytes already are sent as they are. */
const definition = {
  ...RelayServiceService,
  connect: {
    ...RelayServiceService.connect,
    responseSerialize: (message: Outgoing): Buffer =>
      Buffer.isBuffer(message) ? message : encodeMessage(ConnectResponse, message),
  },
};

/** RelayService for 9900. */
export function relayService({
  hub,
  identity,
}: {
  hub: Pick<Hub, "connect">;
  identity: Pick<ServerIdentity, "renew">;
}) {
  const implementation = {
    connect: bidi(hub.connect.bind(hub)),
    renewCertificate: unary((request: RenewCertificateRequest, { principal }: { principal: ClusterPrincipal }) =>
      identity.renew(principal.peer, request),
    ),
  };
  return { definition, implementation };
}
