import tseslint from "typescript-eslint";

/** One door per foreign library (ARCHITECTURE.md): only this folder may import it; tests and the bench may too. */
const DOORS = [
  { door: "common/session", packages: ["@grpc/*", "grpc-health-check"] },
  { door: "common/kube", packages: ["@kubernetes/client-node"] },
  { door: "common/pki", packages: ["@peculiar/x509", "reflect-metadata"] },
  { door: "common/runtime", packages: ["commander", "pino", "prom-client"] },
  { door: "istiod-agent/vault", packages: ["node-vault"] },
];

/** Each room imports proto, common and itself, never another room. */
const ROOMS = ["server", "agent", "istiod-agent", "cli", "dev-vault"];
const OUTER = ["demo", "bench", "test", "scripts"];

const closedTo = (folder, others) => ({
  group: others.map((room) => `**/../${room}/**`),
  message: `${folder} imports proto, common and itself only`,
});

function restrictedImports(folder, rooms) {
  const doors = DOORS.filter(({ door }) => door !== folder).map(({ door, packages }) => ({
    group: packages,
    message: `the door to this library is ${door}`,
  }));
  return ["error", { patterns: [...doors, ...(rooms.length > 0 ? [closedTo(folder, rooms)] : [])] }];
}

const roomsBut = (room) => [...ROOMS, ...OUTER].filter((other) => other !== room);

export default tseslint.config(
  { ignores: ["dist/", "dist.*/", "proto/gen/", "node_modules/", "**/*.gen.ts", "**/*.js"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      // A void arrow is the plainest way to ignore a value; a promise that needs no await is still a promise.
      "@typescript-eslint/no-confusing-void-expression": "off",
      "@typescript-eslint/require-await": "off",
      // Reasons of AbortSignals are unknown by type and errors by our own rule.
      "@typescript-eslint/only-throw-error": "off",
      "@typescript-eslint/prefer-promise-reject-errors": "off",
      "no-restricted-syntax": [
        "error",
        { selector: "ExportDefaultDeclaration", message: "name every export" },
        {
          selector: "ForOfStatement[await=true] > Identifier.right[name=/^(call|stream)$/]",
          message: "for await over a gRPC call loses data (grpc-node#1839): use common/session",
        },
      ],
      "no-restricted-properties": [
        "error",
        { object: "process", property: "exit", message: "only common/runtime/process ends the process" },
        { object: "process", property: "env", message: "only common/runtime/config reads the environment" },
      ],
      "max-lines-per-function": ["error", { max: 50, skipBlankLines: true, skipComments: true }],
      "max-params": ["error", 4],
      "max-depth": ["error", 4],
      complexity: ["error", 15],
    },
  },
  {
    files: ["common/**/*.ts"],
    rules: { "no-restricted-imports": restrictedImports("common", [...ROOMS, ...OUTER]) },
  },
  ...DOORS.filter(({ door }) => door.startsWith("common/")).map(({ door }) => ({
    files: [`${door}/**/*.ts`],
    rules: { "no-restricted-imports": restrictedImports(door, [...ROOMS, ...OUTER]) },
  })),
  ...ROOMS.map((room) => ({
    files: [`${room}/**/*.ts`],
    rules: { "no-restricted-imports": restrictedImports(room, roomsBut(room)) },
  })),
  {
    files: ["istiod-agent/vault/**/*.ts"],
    rules: { "no-restricted-imports": restrictedImports("istiod-agent/vault", roomsBut("istiod-agent")) },
  },
  {
    files: ["common/runtime/process.ts", "common/runtime/config.ts"],
    rules: { "no-restricted-properties": "off" },
  },
  {
    files: ["test/**/*.ts", "**/*.test.ts", "bench/**/*.ts", "demo/**/*.ts", "scripts/**/*.ts"],
    rules: {
      "no-restricted-properties": "off",
      "@typescript-eslint/no-floating-promises": [
        "error",
        {
          allowForKnownSafeCalls: [
            { from: "package", name: ["test", "describe", "it", "suite"], package: "node:test" },
          ],
        },
      ],
      "@typescript-eslint/no-non-null-assertion": "off",
      "max-lines-per-function": "off",
      complexity: "off",
    },
  },
);
