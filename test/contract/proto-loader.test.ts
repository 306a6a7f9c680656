import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { type Client, credentials, loadPackageDefinition, type ServiceClientConstructor } from "@grpc/grpc-js";
import { loadSync, type MessageTypeDefinition, type PackageDefinition } from "@grpc/proto-loader";
import fc from "fast-check";
import { methodTable, startGrpcServer } from "../../common/session/server.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { systemClock } from "../../common/runtime/clock.ts";
import { StateDirectory } from "../../common/runtime/state-directory.ts";
import { AdminServiceService, GetIntentResponse, VirtualMeshStatus } from "../../proto/gen/admin/v1/admin.ts";
import { CertificateState, IssuedCertificate, ReplicaStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { Push } from "../../proto/gen/relay/v1/relay.ts";
import { adminService, type AdminSources } from "../../server/admin/services.ts";
import { openLocalIdentity } from "../../server/store/local-identity.ts";
import { adminReadMethods } from "../../server/identity/methods.ts";
import { DEFAULT_SERVER_NAMES } from "../../server/identity/relay-ca.ts";
import { temporaryFolder } from "../harness/folder.ts";

const PROTO = join(import.meta.dirname, "../../proto");
const FILES = ["admin/v1/admin.proto", "relay/v1/relay.proto", "istiod/v1/istiod.proto"];

/** What a stranger has: the .proto files, and nothing that we generated. */
const definition: PackageDefinition = loadSync(FILES, { includeDirs: [PROTO], longs: BigInt, oneofs: true });

/** Bytes that proto-loader makes of what it reads from ours. */
function reencoded(type: string, bytes: Uint8Array): Buffer {
  const { deserialize, serialize } = definition[type] as MessageTypeDefinition<object, object>;
  return serialize(deserialize(Buffer.from(bytes)));
}

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map((a) => Buffer.from(a));
const name = fc.record({ namespace: fc.string(), name: fc.string() });
const time = fc.date({ min: new Date(0), max: new Date("2100-01-01"), noInvalidDate: true });

const certificates = fc.record({
  name,
  mesh: name,
  virtualMesh: name,
  hosts: fc.array(fc.webUrl()),
  options: fc.record({
    ttlDays: fc.nat(36_500),
    keySizeBits: fc.constantFrom(256, 2048, 4096),
    orgName: fc.string(),
    secretRotationGracePeriodRatio: fc.double({ min: 0.01, max: 0.99, noNaN: true }),
  }),
  installation: fc.record({ namespace: fc.string(), deployment: fc.string(), serviceAccounts: fc.array(fc.string()) }),
  certificateAuthority: fc.record({
    $case: fc.constant("vault" as const),
    value: fc.record({
      caPath: fc.string(),
      csrPath: fc.string(),
      server: fc.string(),
      namespace: fc.string(),
      caSource: fc.option(fc.record({ $case: fc.constant("caBundle" as const), value: bytes(9) }), { nil: undefined }),
      auth: fc.record({ $case: fc.constant("tokenSecretRef" as const), value: name }),
    }),
  }),
});

const replicas = fc.record({
  podName: fc.string(),
  state: fc.constantFrom(...Object.values(CertificateState).filter((state) => state >= 0)),
  rootSha256: bytes(32),
  notBefore: time,
  notAfter: time,
  warnings: fc.array(fc.string()),
  connected: fc.boolean(),
});

const pushes = fc.record({
  type: fc.string(),
  id: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  base: bytes(32),
  upserts: fc.array(fc.record({ name, content: bytes(40) })),
  removals: fc.array(name),
  digest: bytes(32),
});

test("proto-loader - reads and writes the same bytes as the generated code", () => {
  const same = (type: string, encoded: Uint8Array): void => {
    assert.deepEqual(reencoded(type, encoded), Buffer.from(encoded), type);
  };
  const check = <T>(values: fc.Arbitrary<T>, type: string, encode: (value: T) => Uint8Array): void => {
    fc.assert(fc.property(values, (value) => same(type, encode(value))));
  };
  check(certificates, "certificates.v1.IssuedCertificate", (value) =>
    IssuedCertificate.encode(IssuedCertificate.create(value)).finish(),
  );
  check(replicas, "certificates.v1.ReplicaStatus", (value) =>
    ReplicaStatus.encode(ReplicaStatus.create(value)).finish(),
  );
  check(pushes, "relay.v1.Push", (value) => Push.encode(Push.create(value)).finish());
});

const SOURCES: AdminSources = {
  async *watchStatus() {
    const status = { state: "ACCEPTED", conditions: [{ type: "Ready", status: "True" }] };
    const virtualMeshes = [VirtualMeshStatus.create({ name: { namespace: "gloo-mesh", name: "vm" }, status })];
    yield { virtualMeshes, sourceProblems: ["mesh.yaml:3:1: unknown field spec.foo"] };
  },
  session: () => undefined,
  getIntent: (cluster) =>
    cluster === "cluster-1"
      ? GetIntentResponse.create({ resources: [{ certificate: { hosts: ["spiffe://a"] }, acknowledged: true }] })
      : undefined,
};

async function startAdmin(): Promise<{ readonly address: string } & AsyncDisposable> {
  const folder = await temporaryFolder();
  const directory = await StateDirectory.open(folder.file("server"), { program: "enterprise-networking" });
  const identity = { directory, names: DEFAULT_SERVER_NAMES, clock: systemClock, log: silentLog };
  const { registry, rotation } = await openLocalIdentity(identity);
  await registry.register("cluster-2", { ttlMs: 60_000, renew: false });
  const implementation = adminService({ sources: SOURCES, registry, rotation, clock: systemClock });
  const server = await startGrpcServer({
    listen: "127.0.0.1:0",
    services: [{ definition: AdminServiceService, implementation }],
    authorize: methodTable(adminReadMethods),
  });
  return {
    address: server.address,
    async [Symbol.asyncDispose]() {
      await server.close(100);
      await directory.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

type Unary = (request: object, callback: (error: Error | null, answer?: unknown) => void) => void;

interface AdminClient extends Client {
  readonly ListSessions: Unary;
  readonly GetIntent: Unary;
  readonly WatchStatus: (request: object) => AsyncIterable<unknown>;
}

test("proto-loader - a client made of the .proto files alone is served", async (t) => {
  await using server = await startAdmin();
  const loaded = loadPackageDefinition(definition) as unknown as {
    admin: { v1: { AdminService: ServiceClientConstructor } };
  };
  const made = new loaded.admin.v1.AdminService(server.address, credentials.createInsecure());
  const client = made as unknown as AdminClient;
  t.after(() => client.close());
  const ask = (method: Unary, request: object): Promise<unknown> => promisify(method.bind(client))(request);

  const { sessions } = (await ask(client.ListSessions, {})) as { sessions: { cluster: string; identity: string }[] };
  assert.deepEqual(
    sessions.map(({ cluster, identity }) => [cluster, identity]),
    [["cluster-2", "REGISTERED"]],
  );
  const intent = (await ask(client.GetIntent, { cluster: "cluster-1" })) as {
    resources: { acknowledged: boolean; certificate: { hosts: string[] } }[];
  };
  assert.deepEqual([intent.resources[0]?.acknowledged, intent.resources[0]?.certificate.hosts], [true, ["spiffe://a"]]);
  await assert.rejects(ask(client.GetIntent, { cluster: "nowhere" }), /NOT_FOUND: cluster nowhere is not registered/);

  const answers: unknown[] = [];
  for await (const answer of client.WatchStatus({})) answers.push(answer);
  const [first] = answers as { virtualMeshes: { name: { name: string } }[]; sourceProblems: string[] }[];
  assert.equal(first?.virtualMeshes[0]?.name.name, "vm");
  assert.deepEqual(first.sourceProblems, ["mesh.yaml:3:1: unknown field spec.foo"]);
});
