import { IstiodServiceService } from "../../proto/gen/istiod/v1/istiod.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import type { Log } from "../../common/runtime/log.ts";
import { runTasks } from "../../common/runtime/tasks.ts";
import { methodTable, runGrpcServer } from "../../common/session/server.ts";
import type { Admission } from "./admission.ts";
import { istiodService, ISTIOD_SERVICE, type ListReplicas, methodsOf } from "./istiod-service.ts";
import type { ClaimPod } from "./link-session.ts";
import type { LinkBook } from "./links.ts";
import { Refusals } from "./refusals.ts";
import { ServingCertificate, type ServingCertificateOptions } from "./serving-certificate.ts";
import type { TokenReviewer } from "./token-reviewer.ts";

export interface IstiodServerOptions {
  /** host:port, 9977 in the guide. */
  readonly listen: string;
  readonly book: LinkBook;
  readonly list: ListReplicas;
  readonly claim: ClaimPod;
  readonly reviewer: TokenReviewer;
  readonly admission: Admission;
  readonly serving: Pick<ServingCertificateOptions, "publish" | "namespace" | "extraNames">;
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
  const { listen, book, list, claim, reviewer, admission, serving, clock, log } = options;
  const certificate = await ServingCertificate.create({ ...serving, clock }, signal);
  const refusals = new Refusals(clock, log);
  const serve = (stopping: AbortSignal): Promise<void> => {
    const implementation = istiodService({ book, list, claim, refusals, clock, log, stopping });
    const server = {
      listen,
      credentials: certificate.credentials,
      services: [{ definition: IstiodServiceService, implementation }],
      authorize: methodTable(methodsOf({ reviewer, admission, refusals })),
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
