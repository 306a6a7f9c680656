import type { IssuedCertificate, IssuedCertificateEntry } from "../../common/api/certificates.ts";
import { refKey } from "../../common/api/meta.ts";
import type { EventFacts } from "../../common/kube/events.ts";
import type { KubeObject } from "../../common/kube/resource-type.ts";

/** Something that happened to a certificate, for whoever looks at its object. */
export type Happening = Pick<EventFacts, "type" | "reason" | "action" | "note">;

/** What happened between two states of an object: what a pod got, got anew or did not get, and the loss of its intent. */
export function happenings(before: IssuedCertificate | undefined, after: IssuedCertificate): Happening[] {
  const known = new Map((before?.status?.replicas ?? []).map((entry) => [entry.podUid, entry]));
  const entries = after.status?.replicas ?? [];
  return [...entries.flatMap((entry) => ofPod(known.get(entry.podUid), entry)), ...ofIntent(before, after)];
}

function ofPod(before: IssuedCertificateEntry | undefined, after: IssuedCertificateEntry): Happening[] {
  return [...ofSerial(before, after), ...ofFault(before, after)];
}

function ofSerial(before: IssuedCertificateEntry | undefined, after: IssuedCertificateEntry): Happening[] {
  const { podName = after.podUid, serial, notAfter = "an unknown time" } = after;
  if (serial === undefined || serial === before?.serial) return [];
  const reason = before?.serial === undefined ? "CertificateIssued" : "CertificateRenewed";
  const note = `pod ${podName} has serial ${serial}, good until ${notAfter}`;
  return [{ type: "Normal", reason, action: "Issue", note }];
}

function ofFault(before: IssuedCertificateEntry | undefined, after: IssuedCertificateEntry): Happening[] {
  const { podName = after.podUid, error } = after;
  const isSame = error?.code === before?.error?.code && error?.message === before?.error?.message;
  if (!error || isSame) return [];
  const note = `pod ${podName}: ${error.code ?? "internal"}: ${error.message ?? ""}`;
  return [{ type: "Warning", reason: "CertificateFailed", action: "Issue", note }];
}

function ofIntent(before: IssuedCertificate | undefined, after: IssuedCertificate): Happening[] {
  const detached = ({ status }: IssuedCertificate) => status?.conditions?.find(({ type }) => type === "Detached");
  const [was, is] = [before && detached(before), detached(after)];
  if (!is || is.reason === was?.reason) return [];
  return [{ type: "Warning", reason: "CertificateDetached", action: "Detach", note: is.message }];
}

/** Follows objects, and says of each what has happened since it was looked at last. */
export class HappeningsSince {
  #before: ReadonlyMap<string, KubeObject> | undefined;

  /** Of the first look nothing is told: what happened before this program ran, others have told. */
  next(objects: ReadonlyMap<string, KubeObject>): { readonly object: KubeObject; readonly happening: Happening }[] {
    const before = this.#before;
    this.#before = objects;
    if (!before) return [];
    return [...objects.values()].flatMap((object) => {
      const known = before.get(refKey(object.metadata));
      if (known?.metadata.resourceVersion === object.metadata.resourceVersion) return [];
      const isSame = known?.metadata.uid === object.metadata.uid;
      const told = happenings(isSame ? (known as IssuedCertificate) : undefined, object as IssuedCertificate);
      return told.map((happening) => ({ object, happening }));
    });
  }
}
