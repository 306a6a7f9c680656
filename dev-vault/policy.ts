import type { Operation } from "./protocol.ts";
import { invalid } from "./protocol.ts";

const CAPABILITIES = ["create", "read", "update", "patch", "delete", "list", "sudo", "deny"] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** One `path "…" { capabilities = […] }` of a policy. */
export interface Rule {
  readonly path: string;
  readonly capabilities: readonly Capability[];
}

/** What every token may do unless it is made without: the part of Vault's own default policy that this server has. */
export const DEFAULT_POLICY = `path "auth/token/lookup-self" {
    capabilities = ["read"]
}
path "auth/token/renew-self" {
    capabilities = ["update"]
}
path "auth/token/revoke-self" {
    capabilities = ["update"]
}
path "sys/capabilities-self" {
    capabilities = ["update"]
}
`;

const TOKEN =
  /\s+|#[^\n]*|\/\/[^\n]*|\/\*[^]*?\*\/|(?<string>"(?:[^"\\\n]|\\.)*")|(?<word>[A-Za-z_]+)|(?<sign>[{}[\]=,])|(?<other>[^])/y;

/** Reads a policy: `path` blocks with `capabilities`, and comments. Throws Vault's refusal (400) for all else. */
export function parsePolicy(text: string): Rule[] {
  const reader = new Reader(lex(text));
  const rules: Rule[] = [];
  while (!reader.done) rules.push(readRule(reader));
  return rules;
}

function lex(text: string): string[] {
  return Array.from(text.matchAll(new RegExp(TOKEN, "g")))
    .map(({ groups }) => groups?.["string"] ?? groups?.["word"] ?? groups?.["sign"] ?? groups?.["other"])
    .filter((token) => token !== undefined);
}

class Reader {
  readonly #tokens: readonly string[];
  #next = 0;

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  get done(): boolean {
    return this.#next >= this.#tokens.length;
  }

  take(): string {
    return this.#tokens[this.#next++] ?? "EOF";
  }

  expect(wanted: string): void {
    const got = this.take();
    if (got !== wanted) throw refusal(`expected ${wanted} got: ${got}`);
  }

  text(): string {
    const got = this.take();
    if (!got.startsWith('"')) throw refusal(`expected a string got: ${got}`);
    return got.slice(1, -1).replace(/\\(.)/g, "$1");
  }

  /** True, and past it, when the next token is this. */
  skip(wanted: string): boolean {
    if (this.#tokens[this.#next] !== wanted) return false;
    this.#next += 1;
    return true;
  }
}

function readRule(reader: Reader): Rule {
  reader.expect("path");
  const path = reader.text();
  reader.expect("{");
  reader.expect("capabilities");
  reader.expect("=");
  reader.expect("[");
  const capabilities: Capability[] = [];
  while (!reader.skip("]")) {
    capabilities.push(capabilityOf(reader.text(), path));
    if (reader.skip("]")) break;
    reader.expect(",");
  }
  reader.expect("}");
  return { path, capabilities };
}

function capabilityOf(word: string, path: string): Capability {
  const capability = CAPABILITIES.find((each) => each === word);
  if (capability === undefined) throw refusal(`path "${path}": invalid capability "${word}"`);
  return capability;
}

function refusal(fault: string): Error {
  return invalid(`failed to parse policy: ${fault}`);
}

/**
 * What these rules allow at `path`, sorted; `["deny"]` for nothing. As in Vault the best matching pattern alone decides,
 * with the capabilities of all policies that have it: an exact one, else the one whose first wildcard (`+` for a
 * segment, `*` at the end) comes last, then one without `*`, with fewer `+`, the longer.
 */
export function capabilitiesAt(rules: readonly Rule[], path: string): readonly Capability[] {
  const best = rules.filter((rule) => matches(rule.path, path)).sort((a, b) => comparePatterns(b.path, a.path))[0];
  const granted = new Set(rules.filter((rule) => rule.path === best?.path).flatMap((rule) => rule.capabilities));
  return granted.size === 0 || granted.has("deny") ? ["deny"] : Array.from(granted).sort();
}

/** True when these rules allow the operation at `path`. A list may be granted with and without the slash at its end. */
export function allows(rules: readonly Rule[], operation: Operation, path: string): boolean {
  const paths = operation === "list" ? [`${path}/`, path] : [path];
  return paths.some((each) => capabilitiesAt(rules, each).includes(operation));
}

function matches(pattern: string, path: string): boolean {
  const open = pattern.endsWith("*");
  const literal = (open ? pattern.slice(0, -1) : pattern).split("/");
  const source = literal
    .map((segment) => (segment === "+" ? "[^/]+" : segment.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")))
    .join("/");
  return new RegExp(`^${source}${open ? "" : "$"}`).test(path);
}

function comparePatterns(a: string, b: string): number {
  const rank = (pattern: string): number[] => {
    const first = pattern.search(/\*$|(?<=^|\/)\+(?=\/|$)/);
    const pluses = pattern.split("/").filter((segment) => segment === "+").length;
    return [first < 0 ? Infinity : first, pattern.endsWith("*") ? 0 : 1, -pluses, pattern.length];
  };
  const [ranksA, ranksB] = [rank(a), rank(b)];
  const at = ranksA.findIndex((value, index) => value !== ranksB[index]);
  return at < 0 ? a.localeCompare(b) : (ranksA[at] ?? 0) > (ranksB[at] ?? 0) ? 1 : -1;
}
