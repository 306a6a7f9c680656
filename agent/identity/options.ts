import * as z from "zod";
import { type ConfigOf, defineOptions } from "../../common/runtime/config.ts";
import { dialAddress, dnsLabel, formatHostPort, parseHostPort } from "../../common/runtime/settings.ts";

/** A name that an object of Kubernetes can have. */
const objectName = z
  .string()
  .regex(/^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/, "must be lower-case letters, digits, dashes and dots, at most 253");

/** Settings of the agent's identity. `meshctl cluster register` prints them ready to copy. */
export const identityOptions = defineOptions({
  cluster: {
    path: "relay.cluster",
    schema: dnsLabel,
    help: "name of this cluster, as it was registered",
    argument: "name",
  },
  serverAddress: {
    path: "relay.serverAddress",
    schema: dialAddress,
    help: "address of the management server's relay",
    argument: "host:port",
  },
  enrollmentAddress: {
    path: "relay.enrollmentAddress",
    schema: dialAddress.optional(),
    help: "address of the management server's enrolment; the relay's host with port 9901 where it is not given",
    argument: "host:port",
  },
  authority: {
    path: "relay.authority",
    schema: z.string().min(1).default("enterprise-networking.gloo-mesh"),
    help: "name to verify in the server's certificate",
    argument: "name",
  },
  tokenFile: {
    path: "relay.tokenFile",
    schema: z.string().min(1).optional(),
    help: "standalone: file with the join token; read when there is no identity yet, deleted after use where that is allowed",
    argument: "file",
  },
  trustPin: {
    path: "relay.trustPin",
    schema: z
      .string()
      .regex(/^sha256:[0-9a-f]{64}$/, "must be sha256: and 64 hex digits")
      .optional(),
    help: "pin of the relay's root: sha256 of its public key",
    argument: "pin",
  },
  trustBundleFile: {
    path: "relay.trustBundleFile",
    schema: z.string().min(1).optional(),
    help: "standalone: file with the relay's root certificates, instead of a pin",
    argument: "file",
  },
  clientCertSecret: {
    path: "relay.clientCertSecret",
    schema: objectName.default("relay-client-tls-secret"),
    help: "kubernetes: Secret with the identity (tls.crt, tls.key, ca.crt); made by enrolment, or supplied and then used as it is",
    argument: "name",
  },
  rootTlsSecret: {
    path: "relay.rootTlsSecret",
    schema: objectName.default("relay-root-tls-secret"),
    help: "kubernetes: Secret with the relay's root certificates (ca.crt)",
    argument: "name",
  },
  tokenSecret: {
    path: "relay.tokenSecret",
    schema: objectName.default("relay-identity-token-secret"),
    help: "kubernetes: Secret with the join token; deleted after use where meshctl made it",
    argument: "name",
  },
  tokenSecretKey: {
    path: "relay.tokenSecretKey",
    schema: z.string().min(1).default("token"),
    help: "kubernetes: key of that Secret",
    argument: "key",
  },
});

/** Where to enrol: the given address, else that of the relay's host. */
export const enrollmentAddressOf = ({
  enrollmentAddress,
  serverAddress,
}: Pick<ConfigOf<typeof identityOptions>, "enrollmentAddress" | "serverAddress">): string =>
  enrollmentAddress ?? defaultEnrollmentAddress(serverAddress);

/** The enrolment's address where only the relay's is given: the same host, port 9901. */
export function defaultEnrollmentAddress(serverAddress: string): string {
  return formatHostPort({ host: parseHostPort(serverAddress)?.host ?? serverAddress, port: 9901 });
}
