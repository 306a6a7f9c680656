import * as z from "zod";
import { defineOptions } from "../../common/runtime/config.ts";
import { dialAddress, dnsLabel, formatHostPort, parseHostPort } from "../../common/runtime/settings.ts";

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
    help: "file with the join token; read when there is no identity yet, deleted after use where that is allowed",
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
    help: "file with the relay's root certificates, instead of a pin",
    argument: "file",
  },
});

/** The enrolment's address where only the relay's is given: the same host, port 9901. */
export function defaultEnrollmentAddress(serverAddress: string): string {
  return formatHostPort({ host: parseHostPort(serverAddress)?.host ?? serverAddress, port: 9901 });
}
