import { isDeepStrictEqual } from "node:util";
import type { Mesh, MeshCertificateStatus } from "../../common/api/discovery.ts";
import type { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { type ToldCertificate, toStored } from "./stored-certificate.ts";

/** What a replica that holds the session of a cluster knows of one mesh's certificate. Versions are lower-case hex. */
export interface SessionKnowledge {
  readonly epoch: number;
  /** What the agent holds; undefined while that is not known. */
  readonly held: { readonly version: string | undefined } | undefined;
  /** The version that the agent refused last, and why. */
  readonly refused: { readonly version: string; readonly message: string } | undefined;
  /** What the agent said of the certificate in this session, if anything; undefined before it has said all it knows. */
  readonly told: { readonly report: IssuedCertificateStatus | undefined } | undefined;
  /** `since` of the removal that the agent has acknowledged to this replica. */
  readonly acknowledgedRemoval: string | undefined;
}

/**
 * `Mesh.status.issuedCertificate` as it shall be; undefined when there is nothing to say. What a newer session wrote is
 * left as it is, and what this one does not know yet stays as the one before it told.
 */
export function nextSessionPart({ status }: Mesh, known: SessionKnowledge): MeshCertificateStatus | undefined {
  const stored = status?.issuedCertificate;
  const { epoch: before = 0, ...rest } = stored ?? {};
  if (before > known.epoch) return stored;
  const version = known.held ? known.held.version : rest.acknowledgedVersion;
  const removal = [known.acknowledgedRemoval, rest.acknowledgedRemoval].find(
    (since) => since === status?.removal?.since,
  );
  const { refused } = known;
  const content: MeshCertificateStatus = {
    ...(version !== undefined && { acknowledgedVersion: version }),
    ...(refused && { rejected: refused.message, rejectedVersion: refused.version }),
    ...(removal !== undefined && { acknowledgedRemoval: removal }),
    ...toldPart(rest, known),
  };
  if (Object.keys(content).length === 0) return undefined;
  // A new session that has nothing new to say costs no write.
  return stored && isDeepStrictEqual(content, rest) ? stored : { epoch: known.epoch, ...content };
}

/** Fields that come of the session, not of the agent's report. */
const SESSION_FIELDS: ReadonlySet<string> = new Set<keyof MeshCertificateStatus>([
  "epoch",
  "acknowledgedVersion",
  "rejected",
  "rejectedVersion",
  "acknowledgedRemoval",
]);

function toldPart(stored: MeshCertificateStatus, { told }: SessionKnowledge): ToldCertificate {
  if (told) return told.report ? toStored(told.report) : {};
  return Object.fromEntries(Object.entries(stored).filter(([name]) => !SESSION_FIELDS.has(name)));
}
