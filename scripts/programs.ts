/** Programs by file name; each is one file that Node runs. */
export const PROGRAMS = {
  "enterprise-networking": "server/main.ts",
  "enterprise-agent": "agent/main.ts",
  "istiod-agent": "istiod-agent/main.ts",
  meshctl: "cli/main.ts",
  "dev-vault": "dev-vault/main.ts",
} as const;

/**
 * How Node runs a program: in the first line of its bundle, and where ours start it. V8's young generation grows with
 * every burst and is seldom given back, which weighs most in the process that stands beside each istiod (docs/performance.md).
 */
export const NODE_FLAGS: Readonly<Partial<Record<string, readonly string[]>>> = {
  "istiod-agent": ["--max-semi-space-size=1"],
  "enterprise-networking": ["--max-semi-space-size=16"],
};
