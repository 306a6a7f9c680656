import { capabilitiesAt, parsePolicy } from "./policy.ts";
import { absent, invalid, listReply, type Reply, type Route, type VaultRequest } from "./protocol.ts";
import { rulesOf, type VaultState } from "./state.ts";

/** Policies, by their present path and by the old one, and what they let a token do. */
export function policyRoutes(state: VaultState): Route[] {
  const names = (): string[] => [...state.policies.keys(), "root"].sort();
  const textOf = ({ params }: VaultRequest): { name: string; text: string } => {
    const name = (params["name"] ?? "").toLowerCase();
    const text = name === "root" ? "" : state.policies.get(name);
    if (text === undefined) throw absent();
    return { name, text };
  };
  const changes: Partial<Route> = {
    update: (request) => writePolicy(state, request),
    delete: ({ params }) => {
      state.policies.delete((params["name"] ?? "").toLowerCase());
      return undefined;
    },
  };
  const read = (request: VaultRequest, field: "policy" | "rules"): Reply => {
    const { name, text } = textOf(request);
    return { data: { name, [field]: text } };
  };
  return [
    { pattern: /^policies\/acl$/, list: () => listReply(names()) },
    { pattern: /^policies\/acl\/(?<name>[^/]+)$/, read: (request) => read(request, "policy"), ...changes },
    { pattern: /^policy$/, read: () => ({ data: { keys: names(), policies: names() } }) },
    { pattern: /^policy\/(?<name>[^/]+)$/, read: (request) => read(request, "rules"), ...changes },
    { pattern: /^capabilities-self$/, update: (request) => capabilities(state, request) },
  ];
}

function writePolicy(state: VaultState, { params, fields }: VaultRequest): undefined {
  const name = (params["name"] ?? "").toLowerCase();
  const text = fields.text("policy");
  if (name === "root") throw invalid('cannot update "root" policy');
  if (text === undefined) throw invalid("'policy' parameter not supplied or empty");
  parsePolicy(text);
  state.policies.set(name, text);
}

function capabilities(state: VaultState, { fields, token }: VaultRequest): Reply {
  const paths = fields.list("paths") ?? fields.list("path") ?? [];
  const at = (path: string): readonly string[] => {
    if (!token) return ["deny"];
    return token.policies.includes("root") ? ["root"] : capabilitiesAt(rulesOf(state, token), path);
  };
  return { data: Object.fromEntries(paths.map((path) => [path, at(path)])) };
}
