import type { Clock } from "../../common/runtime/clock.ts";
import { unary } from "../../common/session/handlers.ts";
import type {
  EnrollmentServiceServer,
  EnrollRequest,
  EnrollResponse,
} from "../../proto/gen/enrollment/v1/enrollment.ts";
import { RateLimit } from "./rate-limit.ts";
import type { ClusterRegistry } from "./registry.ts";

export interface EnrollmentDeps {
  readonly registry: Pick<ClusterRegistry, "enroll">;
  readonly clock: Clock;
}

/** Answers on 9901. Limited per address and in all, because anybody may ask. */
export function enrollmentService({ registry, clock }: EnrollmentDeps): EnrollmentServiceServer {
  const perAddress = new RateLimit({ clock, perSecond: 2, burst: 20, what: "enrolments from one address" });
  const total = new RateLimit({ clock, perSecond: 50, burst: 200, what: "enrolments" });
  return {
    enroll: unary(async (request: EnrollRequest, { peer }): Promise<EnrollResponse> => {
      perAddress.take(addressOf(peer));
      total.take("");
      const { chainPem, trustBundlePem, cluster } = await registry.enroll(
        request.token,
        request.certificateSigningRequest,
        peer,
      );
      return {
        certificateChain: chainPem,
        trustBundle: trustBundlePem,
        serverTime: new Date(clock.now()),
        cluster,
      };
    }),
  };
}

/** The peer without its port, which every connection has anew. */
const addressOf = (peer: string): string => peer.replace(/:\d+$/, "");
