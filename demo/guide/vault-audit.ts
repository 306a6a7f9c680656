/** One line of Vault's audit log, as far as it is read. */
interface AuditLine {
  readonly time: string;
  readonly type: "request" | "response";
  readonly request: { readonly id: string; readonly operation?: string; readonly path: string };
}

/** What Vault was asked and how long it took itself, by its own clock. */
export interface VaultAnswer {
  readonly path: string;
  readonly tookMs: number;
}

/** Pure: the answers of an audit log, in order; requests that have none yet are left out. */
export function answersOf(auditLog: string): VaultAnswer[] {
  const lines = auditLog
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as AuditLine);
  const asked = new Map(lines.filter(({ type }) => type === "request").map((line) => [line.request.id, line]));
  return lines.flatMap(({ type, time, request }) => {
    const before = asked.get(request.id);
    if (type !== "response" || !before) return [];
    return [{ path: request.path, tookMs: timeOf(time) - timeOf(before.time) }];
  });
}

/** Milliseconds of a time with nanoseconds, which Date cuts to milliseconds. */
function timeOf(text: string): number {
  const [, seconds = "", fraction = "0"] = /^(.*:\d\d)(?:\.(\d+))?Z$/.exec(text) ?? [];
  return Date.parse(`${seconds}Z`) + Number(`0.${fraction}`) * 1000;
}
