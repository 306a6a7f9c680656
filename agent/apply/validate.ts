import { IssuedCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { keyOf, type WireResource } from "../../common/session/resource-set.ts";

/** Refuses what could not be obeyed, with the reason: the version before it then stays in force. */
export function validateCertificate({ name, content }: WireResource): void {
  let certificate: IssuedCertificate;
  try {
    certificate = IssuedCertificate.decode(content);
  } catch (cause) {
    throw new MeshError("resource_invalid", `${name.namespace}/${name.name}: content cannot be decoded`, { cause });
  }
  const label = `${name.namespace}/${name.name}`;
  const refuse = (reason: string): never => {
    throw new MeshError("resource_invalid", `${label}: ${reason}`);
  };
  if (!name.name || !certificate.name || keyOf(certificate.name) !== keyOf(name))
    refuse("content names another resource");
  if (!certificate.installation?.namespace) refuse("installation.namespace is missing");
  if (certificate.hosts.length === 0) refuse("hosts is empty");
  if (certificate.certificateAuthority?.$case !== "vault")
    refuse("this agent knows vault as certificate authority only");
}
