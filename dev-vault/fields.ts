import { invalid } from "./protocol.ts";

/** The fields of a request body, read as leniently as Vault reads them: lists and numbers may come as text. */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  /** Empty text counts as absent. */
  text(name: string): string | undefined {
    const value = this.#values[name];
    if (typeof value === "number" || typeof value === "boolean") return String(value);
    return typeof value === "string" && value !== "" ? value : undefined;
  }

  /** A JSON list, or text with commas. */
  list(name: string): string[] | undefined {
    const value = this.#values[name];
    if (Array.isArray(value)) return value.map(String);
    const text = this.text(name);
    return text?.split(",").map((item) => item.trim());
  }

  flag(name: string): boolean | undefined {
    const text = this.text(name);
    return text === undefined ? undefined : text === "true" || text === "1";
  }

  integer(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^-?\d+$/.test(text)) throw conversionFault(name, `strconv.ParseInt: parsing "${text}": invalid syntax`);
    return Number(text);
  }

  /** Seconds: a number, or a duration such as `90s`, `1h30m`, `365d`. */
  seconds(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const seconds = parseDuration(text);
    if (seconds === undefined) throw conversionFault(name, `time: invalid duration "${text}"`);
    return seconds;
  }

  /** A nested object; absent ones are empty. */
  group(name: string): Fields {
    const value = this.#values[name];
    return new Fields(typeof value === "object" && value !== null ? { ...value } : {});
  }
}

function conversionFault(name: string, fault: string): Error {
  return invalid(`Field validation failed: error converting input for field "${name}": ${fault}`);
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { d: 86_400, h: 3600, m: 60, s: 1 };

function parseDuration(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text);
  if (!/^(\d+[dhms])+$/.test(text)) return undefined;
  return Array.from(text.matchAll(/(\d+)([dhms])/g))
    .map(([, count, unit]) => Number(count) * (UNIT_SECONDS[unit ?? ""] ?? 0))
    .reduce((sum, seconds) => sum + seconds);
}

/** Seconds as Go prints a duration: `8760h0m0s`, `1m30s`, `45s`. */
export function goDuration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h > 0) return `${h}h${m}m${s}s`;
  return m > 0 ? `${m}m${s}s` : `${s}s`;
}

/** The same without the parts at its end that are zero: `8760h`. */
export function shortDuration(seconds: number): string {
  return goDuration(seconds)
    .replace(/^(\d+h)(\d+m)0s$/, "$1$2")
    .replace(/^(\d+h)0m$/, "$1")
    .replace(/^(\d+m)0s$/, "$1");
}
