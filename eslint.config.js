import tseslint from "typescript-eslint";

/** One door per foreign library (ARCHITECTURE.md): only the folders named here may import it. */
const DOORS = [
  { packages: ["@grpc/*", "grpc-health-check"], files: ["common/session/**", "proto/gen/**", "test/**", "bench/**"] },
  { packages: ["@kubernetes/client-node"], files: ["common/kube/**", "test/**"] },
  { packages: ["@peculiar/x509", "reflect-metadata"], files: ["common/pki/**"] },
  { packages: ["node-vault"], files: ["istiod-agent/vault/**"] },
  { packages: ["commander", "pino", "prom-client"], files: ["common/runtime/**", "cli/**", "demo/**", "bench/**"] },
];

/** Process rooms, which import proto, common and themselves, never each other. */
const ROOMS = ["server", "agent", "istiod-agent", "cli", "dev-vault", "demo", "bench", "test"];

const TYPED_RULES = {
  "@typescript-eslint/no-explicit-any": "error",
  "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
  "@typescript-eslint/consistent-type-imports": "error",
  "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
  "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
  "@typescript-eslint/no-confusing-void-expression": "off",
  "@typescript-eslint/require-await": "off",
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
    { object: "process", property: "exit", message: "only common/runtime/process may end the process" },
    { object: "process", property: "env", message: "only common/runtime/config reads the environment" },
  ],
  "max-params": ["error", 4],
  "max-depth": ["error", 4],
  complexity: ["error", 15],
};

export default tseslint.config(
  { ignores: ["dist/", "proto/gen/", "node_modules/"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      ...TYPED_RULES,
      "no-restricted-imports": ["error", { patterns: DOORS.map(({ packages }) => ({ group: packages })) }],
    },
  },
  ...DOORS.map(({ files }, index) => ({
    files: files.map((glob) => `${glob}/*.ts`.replace("/**/", "/**/")),
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: DOORS.filter((door, other) => other !== index && !door.files.includes(files[0])).map(
            ({ packages }) => ({ group: packages }),
          ),
        },
      ],
    },
  })),
  {
    files: ["test/**/*.ts", "**/*.test.ts", "bench/**/*.ts", "demo/**/*.ts", "scripts/**/*.ts"],
    rules: {
      "no-restricted-imports": "off",
      "no-restricted-properties": "off",
      "@typescript-eslint/no-floating-promises": [
        "error",
        {
          allowForKnownSafeCalls: [
            { from: "package", name: ["test", "describe", "it", "suite"], package: "node:test" },
          ],
        },
      ],
      complexity: "off",
    },
  },
);
export { ROOMS };
