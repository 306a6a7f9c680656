import { createHash } from "node:crypto";
import type { ClusterSession, GetIntentResponse, HeldResource, IntentResource } from "../proto/gen/admin/v1/admin.ts";
import { IssuedCertificate } from "../proto/gen/certificates/v1/certificates.ts";
import { formatName } from "./names.ts";

/** One field that differs. Absent: it has no value on that side. */
export interface FieldDifference {
  readonly field: string;
  readonly held?: string;
  readonly wanted?: string;
}

/** "unknown": that something else is held may be known, and what it is, is not. */
export type Change = "added" | "changed" | "removed" | "unknown";

/** How one certificate that a cluster holds differs from the one that it shall hold. */
export interface CertificateDifference {
  readonly name: string;
  readonly change: Change;
  /** Hex; empty where none is held, or where it is not known. */
  readonly heldVersion: string;
  /** Hex; empty where none is wanted. */
  readonly wantedVersion: string;
  readonly fields: readonly FieldDifference[];
  /** Why the fields are not compared; empty when they are. */
  readonly remark: string;
}

/** Longer values are told by their hash. */
const MAX_VALUE = 80;

const VERSION_ONLY =
  "only the version of what the agent holds is known here: it was sent before this server was started, or by another replica";

/** What a push would change in a cluster: what it shall hold beside what it is known to hold. */
export function differences(
  { resources, surplus }: Pick<GetIntentResponse, "resources" | "surplus">,
  session: ClusterSession | undefined,
): CertificateDifference[] {
  const changed = resources.filter(({ acknowledged }) => !acknowledged).map((each) => ofResource(each, session));
  return [...changed, ...surplus.map(ofSurplus)];
}

function ofResource({ certificate, version, held }: IntentResource, session: ClusterSession | undefined) {
  const common = { name: formatName(certificate?.name), wantedVersion: version.toString("hex") };
  if (!held) return { ...common, change: "unknown", heldVersion: "", fields: [], remark: whyUnknown(session) } as const;
  const heldVersion = held.version.toString("hex");
  if (heldVersion !== "" && !held.certificate) {
    return { ...common, change: "unknown", heldVersion, fields: [], remark: VERSION_ONLY } as const;
  }
  const change = heldVersion === "" ? "added" : "changed";
  return { ...common, change, heldVersion, fields: compare(held.certificate, certificate), remark: "" } as const;
}

function ofSurplus({ name, version, certificate }: HeldResource): CertificateDifference {
  return {
    ...{ name: formatName(name), change: "removed", heldVersion: version.toString("hex"), wantedVersion: "" },
    fields: compare(certificate, undefined),
    remark: certificate ? "" : VERSION_ONLY,
  };
}

function whyUnknown(session: ClusterSession | undefined): string {
  if (session?.connected) return "what the agent holds is not known yet: it gets the whole set";
  return "what the agent holds is not known: it was not connected since the server was started";
}

/** The fields that differ, in order of name. */
export function compare(held: IssuedCertificate | undefined, wanted: IssuedCertificate | undefined): FieldDifference[] {
  const [before, after] = [held, wanted].map((each) =>
    each ? fieldsOf(IssuedCertificate.toJSON(each), "") : new Map(),
  );
  const names = [...new Set([...(before?.keys() ?? []), ...(after?.keys() ?? [])])] as string[];
  return names.sort().flatMap((field): FieldDifference[] => {
    const [a, b] = [before?.get(field), after?.get(field)] as (string | undefined)[];
    return a === b ? [] : [{ field, ...(a !== undefined && { held: a }), ...(b !== undefined && { wanted: b }) }];
  });
}

/** "vault.kubernetesAuth.role" to its value; of lists each element. */
function fieldsOf(value: unknown, path: string): Map<string, string> {
  if (typeof value !== "object" || value === null) return new Map([[path, shown(value)]]);
  const entries = Object.entries(value).map(([name, each]): [string, unknown] => {
    return [Array.isArray(value) ? `${path}[${name}]` : path === "" ? name : `${path}.${name}`, each];
  });
  return new Map(entries.flatMap(([name, each]) => [...fieldsOf(each, name)]));
}

function shown(value: unknown): string {
  const text = String(value);
  if (text.length <= MAX_VALUE) return text;
  return `sha256:${createHash("sha256").update(text).digest("hex").slice(0, 16)} (${text.length} characters)`;
}
