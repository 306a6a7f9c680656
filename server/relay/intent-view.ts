import { HeldResource, IntentResource } from "../../proto/gen/admin/v1/admin.ts";
import { IssuedCertificate } from "../../proto/gen/certificates/v1/certificates.ts";
import { nameOf, type Versions, type WireResource } from "../../common/session/resource-set.ts";
import type { Delivery, PushLedger } from "./push-ledger.ts";
import type { Desired } from "./push-machine.ts";
import type { AgentAnswers } from "./views.ts";

interface Known {
  readonly answers: AgentAnswers | undefined;
  /** Where the session is held, or was held last, by this replica. */
  readonly ledger: PushLedger | undefined;
}

/** One resource of the intent as people see it. */
export function viewResource(
  key: string,
  { content, version }: WireResource,
  { answers, ledger }: Known,
): IntentResource {
  const held = answers?.held;
  const parked = answers?.parked.get(key);
  const delivery = ledger?.delivery(key);
  return IntentResource.fromPartial({
    certificate: IssuedCertificate.decode(content),
    version: Buffer.from(version, "hex"),
    acknowledged: held?.get(key) === version,
    ...(held && held.get(key) !== version && { held: viewHeld(key, held.get(key), ledger) }),
    ...(parked && viewRefusal(parked)),
    ...(delivery?.version === version && viewDelivery(delivery)),
  });
}

type Refusal = AgentAnswers["parked"] extends ReadonlyMap<string, infer R> ? R : never;

const viewRefusal = ({ message, code = "", attempts = 0, retryAtMs = Infinity }: Refusal) => ({
  ...{ rejected: message, rejectedCode: code, refusals: attempts },
  ...(Number.isFinite(retryAtMs) && { retryAt: new Date(retryAtMs) }),
});

const viewDelivery = ({ sentAtMs, answeredAtMs }: Delivery) => ({
  sentAt: new Date(sentAtMs),
  ...(answeredAtMs !== undefined && { answeredAt: new Date(answeredAtMs) }),
});

/** What the agent holds beside what it shall. */
export function viewSurplus({ resources }: Desired, held: Versions, ledger: PushLedger | undefined): HeldResource[] {
  return [...held].filter(([key]) => !resources.has(key)).map(([key, version]) => viewHeld(key, version, ledger));
}

function viewHeld(key: string, version: string | undefined, ledger: PushLedger | undefined): HeldResource {
  const known = version === undefined ? undefined : ledger?.content(key, version);
  return HeldResource.fromPartial({
    name: nameOf(key),
    version: Buffer.from(version ?? "", "hex"),
    ...(known && { certificate: IssuedCertificate.decode(known.content) }),
  });
}
