import { IstiodServiceService } from "../../proto/gen/istiod/v1/istiod.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import type { Log } from "../../common/runtime/log.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import { methodTable, runGrpcServer } from "../../common/session/server.ts";
import { istiodService, ISTIOD_SERVICE, methodsOf, type AllowedAccounts } from "./istiod-service.ts";
import type { LinkBook } from "./links.ts";
import { ServingCertificate } from "./serving-certificate.ts";
import type { TokenReviewer } from "./token-reviewer.ts";

export interface IstiodServerOptions {
  /** host:port, 9977 in the guide. */
  readonly listen: string;
  readonly book: LinkBook;
  readonly reviewer: TokenReviewer;
  readonly accounts: AllowedAccounts;
  /** File that takes the public CA bundle of the serving certificate. */
  readonly servingCaFile: string;
  /** Further DNS names and IP addresses of the serving certificate. */
  readonly servingNames?: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Serves 9977 until `signal` is aborted, and keeps the book and the serving certificate up to date meanwhile.
 * `onListening` gets the address in use; the CA bundle is written before that. Throws `port_in_use` and faults of
 * writing the bundle.
 */
export async function runIstiodServer(
  options: IstiodServerOptions,
  signal: AbortSignal,
  onListening: (address: string) => void = () => undefined,
): Promise<void> {
  const { listen, book, reviewer, accounts, clock, log } = options;
  const { servingCaFile: caFile, servingNames: extraNames = [] } = options;
  const certificate = await ServingCertificate.create({ caFile, extraNames, clock });
  const serve = (stopping: AbortSignal): Promise<void> => {
    const implementation = istiodService({ book, clock, log, stopping });
    const server = {
      listen,
      credentials: certificate.credentials,
      services: [{ definition: IstiodServiceService, implementation }],
      authorize: methodTable(methodsOf(reviewer, accounts)),
      reflect: [ISTIOD_SERVICE],
    };
    return runGrpcServer(server, stopping, (address) => {
      log.info("serving istiod-agents", { listen: address });
      onListening(address);
    });
  };
  await runTasks(signal, {
    listener: serve,
    links: (stop) => book.run(stop),
    "serving certificate": (stop) => certificate.run(stop),
  });
}
