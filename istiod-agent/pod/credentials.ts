import { join } from "node:path";
import type { ResourceName } from "../../proto/gen/certificates/v1/certificates.ts";
import { fileCredential, jwtCredential, type Credential, type RenewableCredential } from "./credential.ts";

/** What an order may name to log in to Vault with. Keys and names must be checked before: they become parts of paths. */
export interface OrderCredentials {
  /** The pod's own service account token. */
  own(key: string): Credential;
  /** The token of another service account. */
  account(account: ResourceName, key: string): Credential;
  /** A value of a Secret. */
  secret(secret: ResourceName, key: string): Credential;
}

/** Where all credentials of a pod come from. The one seam between the two homes: mounted files, or the API server. */
export interface PodCredentials extends OrderCredentials {
  /** Opens the link to the agent. */
  readonly link: RenewableCredential;
  /** PEM certificates that verify the agent. */
  readonly agentRoots: RenewableCredential;
  /** Shown to istiod, which signs for nobody else. */
  readonly istiod: RenewableCredential;
  /** Lets go of connections. */
  close(): void;
}

/** Names of the token files in the service account directory. */
const LINK_TOKEN = "enterprise-agent-token";
const ISTIOD_TOKEN = "istio-ca-token";

export interface CredentialFiles {
  /** Directory with the pod's own tokens, one file for each audience. */
  readonly serviceAccountDir: string;
  /** Directory with Secrets as NAMESPACE/NAME/KEY. */
  readonly secretsDir: string;
  readonly agentCaFile: string;
}

/** Everything lies in files, and is read at each use: without an API server. */
export function fileCredentials({ serviceAccountDir, secretsDir, agentCaFile }: CredentialFiles): PodCredentials {
  const inSecrets = ({ namespace, name }: ResourceName, key: string): string => join(secretsDir, namespace, name, key);
  return {
    link: fileCredential(
      join(serviceAccountDir, LINK_TOKEN),
      "mount a service account token for audience enterprise-agent there",
    ),
    agentRoots: fileCredential(agentCaFile, "have the agent write its certificates there (its --istiod-ca-file)"),
    istiod: fileCredential(join(serviceAccountDir, ISTIOD_TOKEN)),
    own: (key) => jwtCredential(join(serviceAccountDir, key)),
    account: (account, key) => jwtCredential(inSecrets(account, key)),
    secret: (secret, key) => fileCredential(inSecrets(secret, key)),
    close: () => undefined,
  };
}
