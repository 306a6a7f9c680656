import { readFile, writeFile } from "node:fs/promises";
import { certificateFacts } from "../common/pki/certificate.ts";
import { generateKey, privateKeyToPem, publicKeyHash } from "../common/pki/keys.ts";
import { systemClock } from "../common/runtime/clock.ts";
import { StateDirectory } from "../common/runtime/state-directory.ts";
import type { KeyAndChain } from "../common/session/tls.ts";
import { type ClusterRecord, clustersSchema } from "../server/identity/records.ts";
import { DEFAULT_SERVER_NAMES } from "../server/identity/relay-ca.ts";
import { StoredCa } from "../server/identity/stored-ca.ts";

/** Identities of a server and of its clusters' agents, all of one relay. */
export interface Fleet {
  readonly rootsPem: string;
  readonly server: KeyAndChain;
  /** By number; the agent of cluster-7 is at 7. */
  readonly agents: readonly KeyAndChain[];
}

export interface FleetPlace {
  /** State directory of an enterprise-networking that knows the clusters. */
  readonly stateDir: string;
  /** Holds the fleet as JSON, mode 0600. */
  readonly fleetFile: string;
}

export const clusterName = (number: number): string => `cluster-${number}`;

/**
 * Makes a server's state directory with `size` enrolled clusters and the file of all their identities. The certificates
 * are real and each its own; the agents share one key, since making a thousand measures nothing.
 */
export async function makeFleet(size: number, { stateDir, fleetFile }: FleetPlace): Promise<void> {
  const directory = await StateDirectory.open(stateDir, { program: "enterprise-networking" });
  try {
    const { ca } = await StoredCa.open(directory, systemClock);
    const key = await generateKey({ type: "ec", curve: "P-256" });
    const keyPem = privateKeyToPem(key);
    const agents: KeyAndChain[] = [];
    const clusters: ClusterRecord[] = [];
    for (let number = 0; number < size; number++) {
      const name = clusterName(number);
      const { certificate, chainPem, notAfterMs } = await ca.signClient(key, { kind: "cluster", name });
      const { sha256Fingerprint: fingerprint } = certificateFacts(certificate);
      const current = { serial: certificate.x509.serialNumber, fingerprint, keyHash: publicKeyHash(key), notAfterMs };
      agents.push({ keyPem, certificatePem: chainPem });
      clusters.push({ name, state: "ENROLLED", current });
    }
    clusters.sort((a, b) => (a.name < b.name ? -1 : 1));
    await directory.document("clusters", clustersSchema).write({ clusters });
    const serverKey = await generateKey({ type: "ec", curve: "P-256" });
    const signed = await ca.signServer(serverKey, DEFAULT_SERVER_NAMES);
    const server = { keyPem: privateKeyToPem(serverKey), certificatePem: signed.chainPem };
    const fleet: Fleet = { rootsPem: ca.trustBundlePem, server, agents };
    await writeFile(fleetFile, JSON.stringify(fleet), { mode: 0o600 });
  } finally {
    await directory.close();
  }
}

export const readFleet = async (fleetFile: string): Promise<Fleet> =>
  JSON.parse(await readFile(fleetFile, "utf8")) as Fleet;
