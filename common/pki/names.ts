import { type JsonName, SubjectAlternativeNameExtension } from "./x509.ts";

/** The parts of a distinguished name that we set: organization first, as openssl and Vault print it. */
export interface Subject {
  readonly organization?: string;
  readonly commonName?: string;
}

/** Subject alternative names by kind. */
export interface SubjectAltNames {
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  readonly ipSans: readonly string[];
}

export function subjectName({ organization, commonName }: Subject): JsonName {
  return [...(organization ? [{ O: [organization] }] : []), ...(commonName ? [{ CN: [commonName] }] : [])];
}

/** The extension for these names, or none for no names. */
export function subjectAltNameExtension(names: Partial<SubjectAltNames>): SubjectAlternativeNameExtension | undefined {
  const { uriSans = [], dnsSans = [], ipSans = [] } = names;
  const all = [
    ...uriSans.map((value) => ({ type: "url", value }) as const),
    ...dnsSans.map((value) => ({ type: "dns", value }) as const),
    ...ipSans.map((value) => ({ type: "ip", value }) as const),
  ];
  return all.length > 0 ? new SubjectAlternativeNameExtension(all) : undefined;
}

export function readSubjectAltNames(extension: SubjectAlternativeNameExtension | null): SubjectAltNames {
  const of = (type: string): string[] =>
    (extension?.names.items ?? []).filter((item) => item.type === type).map((item) => item.value);
  return { uriSans: of("url"), dnsSans: of("dns"), ipSans: of("ip") };
}
