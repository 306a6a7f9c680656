import type { Clock } from "../../common/runtime/clock.ts";
import type { Log } from "../../common/runtime/log.ts";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import { Epochs } from "../identity/epochs.ts";
import { type ServerIdentity, serverIdentity } from "../identity/identity.ts";
import { openRelayCa, type ServerNames } from "../identity/relay-ca.ts";
import { ServerCertificate } from "../identity/server-certificate.ts";
import { LocalClusters } from "./local-clusters.ts";

export interface LocalIdentityOptions {
  readonly directory: Pick<StateDirectory, "document" | "file">;
  readonly names: ServerNames;
  readonly clock: Clock;
  readonly log: Log;
}

/** The identity room over a state directory; the first start makes CA and records. Throws `state_corrupt`. */
export async function openLocalIdentity(
  options: LocalIdentityOptions,
): Promise<ServerIdentity & { readonly epochs: Epochs }> {
  const { directory, names, clock, log } = options;
  const ca = await openRelayCa(directory, clock);
  const store = await LocalClusters.open(directory);
  const certificate = await ServerCertificate.create({ ca, names, clock, log });
  const pki = {
    ca,
    certificate,
    opened: () => Promise.resolve(),
    run: (signal: AbortSignal) => certificate.run(signal),
  };
  return { ...serverIdentity({ pki, store, clock, log }), epochs: await Epochs.open(directory) };
}
