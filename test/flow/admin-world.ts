import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../common/runtime/clock.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { StateDirectory } from "../../common/runtime/state-directory.ts";
import { type GrpcServer, methodTable, type MethodTable, startGrpcServer } from "../../common/session/server.ts";
import {
  AdminServiceService,
  ClusterSession,
  GetIntentResponse,
  RegistryServiceService,
  VirtualMeshStatus,
} from "../../proto/gen/admin/v1/admin.ts";
import { CertificateState } from "../../proto/gen/certificates/v1/certificates.ts";
import { adminService, type AdminSources, registryService } from "../../server/admin/services.ts";
import type { ServerIdentity } from "../../server/identity/identity.ts";
import { adminReadMethods, adminSocketMethods, relayMethods } from "../../server/identity/methods.ts";
import { DEFAULT_SERVER_NAMES } from "../../server/identity/relay-ca.ts";
import { openLocalIdentity } from "../../server/store/local-identity.ts";
import { type TemporaryFolder, temporaryFolder } from "../harness/folder.ts";

/** Source of the program. */
export const MESHCTL = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

const VIRTUAL_MESH = VirtualMeshStatus.create({
  name: { name: "vm", namespace: "gloo-mesh" },
  status: { state: "ACCEPTED", conditions: [{ type: "Ready", status: "False", message: "waiting" }] },
  clusters: [
    {
      cluster: "cluster-1",
      mesh: { name: "istiod-istio-system-cluster-1", namespace: "gloo-mesh" },
      connected: true,
      applied: true,
      certificate: {
        replicas: [
          {
            podName: "istiod-1",
            podNamespace: "istio-system",
            state: CertificateState.CERTIFICATE_STATE_FAILED,
            serial: "aa:bb",
            rootSha256: Buffer.alloc(32, 0xab),
            error: { code: "vault_denied", message: "role gen-int-ca-istio refused", hint: "" },
          },
        ],
      },
    },
  ],
});

const SOURCES: Omit<AdminSources, "watchStatus"> = {
  session: (cluster) =>
    cluster === "cluster-1"
      ? ClusterSession.create({ cluster, connected: true, agentVersion: "9.9.9", epoch: 4n })
      : undefined,
  getIntent: (cluster) =>
    cluster === "cluster-1"
      ? GetIntentResponse.create({
          resources: [
            { certificate: { name: { name: "ic", namespace: "gloo-mesh" } }, version: Buffer.alloc(32, 0xcd) },
          ],
        })
      : undefined,
};

/** How meshctl ended. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A server that answers meshctl at all its doors, and knows one connected cluster, `cluster-1`. */
export interface AdminWorld extends AsyncDisposable {
  readonly folder: TemporaryFolder;
  readonly identity: ServerIdentity;
  readonly adminSocket: string;
  readonly relay: string;
  readonly loopback: string;
  /** Runs meshctl with these arguments; on the admin socket where `server` is not given. */
  meshctl(...args: string[]): Promise<Outcome>;
  meshctlAt(server: readonly string[], ...args: string[]): Promise<Outcome>;
}

/** Runs meshctl where nobody has a kubeconfig, unless `env` has one. */
export async function runMeshctl(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [MESHCTL, ...args], {
    env: { ...process.env, KUBECONFIG: "", HOME: "/nonexistent", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit") as Promise<[number | null]>,
  ]);
  return { code, stdout, stderr };
}

/** Starts it on free ports. `virtualMesh`: the one that its status is of. */
export async function startAdminWorld(virtualMesh = VIRTUAL_MESH): Promise<AdminWorld> {
  const folder = await temporaryFolder();
  const clock = systemClock;
  const directory = await StateDirectory.open(folder.file("server"), { program: "enterprise-networking" });
  const identity = await openLocalIdentity({ directory, names: DEFAULT_SERVER_NAMES, clock, log: silentLog });
  const { registry, rotation, pki } = identity;
  const { certificate } = pki;
  const sources: AdminSources = {
    ...SOURCES,
    async *watchStatus() {
      yield { virtualMeshes: [virtualMesh], sourceProblems: ["mesh.yaml:3:1: unknown field spec.foo"] };
    },
  };
  const deps = { sources, registry, rotation, clock };
  const services = [
    { definition: AdminServiceService, implementation: adminService(deps) },
    { definition: RegistryServiceService, implementation: registryService(deps) },
  ];
  const start = (listen: string, table: MethodTable, more = {}): Promise<GrpcServer> =>
    startGrpcServer({ listen, authorize: methodTable(table), services, ...more });
  const socket = await start(`unix:${directory.file("admin.sock")}`, adminSocketMethods);
  const loopback = await start("127.0.0.1:0", adminReadMethods);
  const relay = await start("127.0.0.1:0", relayMethods(registry), { credentials: certificate.relay });
  const meshctlAt = (server: readonly string[], ...args: string[]) => runMeshctl([...args, ...server]);
  return {
    folder,
    identity,
    adminSocket: directory.file("admin.sock"),
    relay: relay.address,
    loopback: loopback.address,
    meshctlAt,
    meshctl: (...args) => meshctlAt(["--state-dir", directory.path], ...args),
    async [Symbol.asyncDispose]() {
      await Promise.all([socket, loopback, relay].map((server) => server.close(100)));
      await directory.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}
