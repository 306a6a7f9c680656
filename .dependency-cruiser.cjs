/** The dependency rule of ARCHITECTURE.md: rooms, doors and no cycles. `npm run lint` and test/house run it. */
const ROOMS = ["server", "agent", "istiod-agent", "cli", "dev-vault"];
const OUTER = ["demo", "bench", "test", "scripts"];

const isolated = ROOMS.map((room) => ({
  name: `room-${room}`,
  comment: `${room} imports proto, common and itself only`,
  severity: "error",
  from: { path: `^${room}/` },
  to: { path: `^(${[...ROOMS, ...OUTER].filter((other) => other !== room).join("|")})/` },
}));

const door = (name, packages, folders) => ({
  name: `door-${name}`,
  comment: `only ${folders.join(" and ")} may import ${packages}`,
  severity: "error",
  from: { pathNot: `^(${[...folders, "test", "bench", "proto/gen", "node_modules"].join("|")})/` },
  to: { path: `node_modules/(${packages})/` },
});

module.exports = {
  forbidden: [
    ...isolated,
    {
      name: "common-imports-proto-only",
      severity: "error",
      from: { path: "^common/" },
      to: { path: `^(${[...ROOMS, ...OUTER].join("|")})/` },
    },
    {
      name: "nobody-imports-the-outer-rooms",
      severity: "error",
      from: { pathNot: `^(${OUTER.join("|")})/` },
      to: { path: `^(${OUTER.join("|")})/` },
    },
    {
      name: "runtime-is-the-ground",
      severity: "error",
      from: { path: "^common/runtime/" },
      to: { path: "^(common/(?!runtime/)|proto/)" },
    },
    {
      name: "only-kube-uses-api",
      severity: "error",
      from: { path: "^common/(runtime|pki|session)/" },
      to: { path: "^common/(api|kube)/" },
    },
    {
      name: "istiod-agent-without-kubernetes-client",
      comment: "the client costs tens of MiB in every istiod pod; common/kube/incluster makes its few calls",
      severity: "error",
      from: { path: "^(istiod-agent|common/kube/incluster)/" },
      to: { path: "^common/kube/(?!incluster/|errors\\.ts$)" },
    },
    door("grpc", "@grpc/[^/]+|grpc-health-check", ["common/session"]),
    door("kubernetes", "@kubernetes/client-node", ["common/kube"]),
    door("x509", "@peculiar/x509|reflect-metadata", ["common/pki"]),
    door("vault", "node-vault", ["istiod-agent/vault"]),
    door("runtime", "commander|pino|prom-client", ["common/runtime"]),
    {
      name: "no-value-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "no-orphans",
      severity: "error",
      from: { orphan: true, pathNot: ["\\.d\\.ts$", "\\.test\\.ts$", "^scripts/", "main\\.ts$", "^proto/gen/"] },
      to: {},
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|node_modules)/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { extensions: [".ts", ".js", ".json"], conditionNames: ["import", "node", "default"] },
  },
};
