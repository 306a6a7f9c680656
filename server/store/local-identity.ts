import { Epochs } from "../identity/epochs.ts";
import { type ServerIdentity, serverIdentity } from "../identity/identity.ts";
import { LocalClusters } from "./local-clusters.ts";
import { LocalPki, type LocalPkiOptions } from "./local-pki.ts";

/** The identity room over a state directory; the first start makes CA and records. Throws `state_corrupt`. */
export async function openLocalIdentity(
  options: LocalPkiOptions,
): Promise<ServerIdentity & { readonly epochs: Epochs }> {
  const { directory, clock, log } = options;
  const pki = await LocalPki.open(options);
  const store = await LocalClusters.open(directory);
  return { ...serverIdentity({ pki, store, clock, log }), epochs: await Epochs.open(directory) };
}
