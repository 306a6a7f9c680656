import type { IssuedCertificate } from "../../common/api/certificates.ts";
import type { Mesh } from "../../common/api/discovery.ts";
import { nameOf } from "../../common/api/meta.ts";
import { encodeMessage } from "../../common/session/encode.ts";
import { wireResource, type WireResource } from "../../common/session/resource-set.ts";
import { IssuedCertificate as WireCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import type { AcceptedIntent } from "../intent/verdict.ts";
import { encodeIssuedCertificate } from "./encode.ts";
import { issuedCertificate } from "./translate.ts";

/** An IssuedCertificate as it is pushed. */
export function toWireResource(certificate: IssuedCertificate): WireResource {
  return wireResource(nameOf(certificate), encodeMessage(WireCertificate, encodeIssuedCertificate(certificate)));
}

/** What an intent asks of one mesh, as it is pushed; undefined when it asks for nothing. */
export function resourceOf(intent: AcceptedIntent, mesh: Mesh, ownNamespace: string): WireResource | undefined {
  const certificate = issuedCertificate(intent, mesh, ownNamespace);
  return certificate && toWireResource(certificate);
}
