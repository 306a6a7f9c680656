import { join } from "node:path";
import { ensureTools } from "../tools/build.ts";
import type { ApiServer } from "./api-server.ts";
import { runCommand } from "./command.ts";
import { temporaryFolder } from "./folder.ts";
import { freePort } from "./ports.ts";
import { startProcess, type RunningProcess } from "./process.ts";

/** What `startIstiod` and `createCertificate` need, for `skipWithout`. */
export const ISTIOD_TOOLS = ["pilot-discovery", "istio-api", "grpcurl"] as const;

/** The address istiod's serving certificate is made for. */
const SERVER_NAME = "istiod.istio-system.svc";

export interface IstiodOptions {
  readonly apiServer: ApiServer;
  /** Folder with ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem, which istiod watches. */
  readonly cacertsDirectory: string;
  /** Name of its cluster. Default `Kubernetes`, as istiod's own. */
  readonly clusterId?: string;
  /** Loopback address of its listeners. */
  readonly host?: string;
  /** Added to its environment, such as `ISTIO_MULTIROOT_MESH`. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A running istiod. Disposing stops it. */
export interface Istiod extends AsyncDisposable {
  readonly process: RunningProcess;
  /** `HOST:PORT` of its TLS port (15012 in a cluster), where CreateCertificate is. */
  readonly secureGrpcAddress: string;
  /** `http://HOST:PORT` of its plain port, with `/ready` and `/debug`. */
  readonly httpUrl: string;
  readonly cacertsDirectory: string;
}

/**
 * Starts a real istiod (pilot-discovery) as a plain process against that API server, with the namespace istio-system
 * made for it. It signs with what it finds in `cacertsDirectory`, and makes a root of its own when that is empty.
 */
export async function startIstiod(options: IstiodOptions): Promise<Istiod> {
  await using stack = new AsyncDisposableStack();
  const { apiServer, cacertsDirectory, host = "127.0.0.1" } = options;
  const tools = await ensureTools(["pilot-discovery"]);
  const folder = stack.use(await temporaryFolder());
  await apiServer.createServiceAccount("istio-system", "istiod");
  const nextAddress = async (): Promise<string> => `${host}:${await freePort(host)}`;
  const httpAddress = await nextAddress();
  const secureGrpcAddress = await nextAddress();
  const running = await startProcess({
    name: "istiod",
    command: tools["pilot-discovery"],
    args: [
      ...["discovery", "--kubeconfig", apiServer.kubeconfig, "--ctrlz_port", String(await freePort())],
      ...["--httpAddr", httpAddress, "--httpsAddr", await nextAddress(), "--grpcAddr", await nextAddress()],
      ...["--secureGRPCAddr", secureGrpcAddress, "--monitoringAddr", await nextAddress()],
    ],
    env: environmentOf(options),
    // It writes where it stands, and looks there for a mesh configuration.
    cwd: folder.path,
    logFile: folder.file("istiod.log"),
    ready: async () => (await fetch(`http://${httpAddress}/ready`)).ok,
  });
  stack.use(running);
  const resources = stack.move();
  return {
    process: running,
    secureGrpcAddress,
    httpUrl: `http://${httpAddress}`,
    cacertsDirectory,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** As the pod of istiod's chart has it, without webhooks, which need pods to serve them, and without an election. */
function environmentOf({ cacertsDirectory, clusterId = "Kubernetes", env }: IstiodOptions): Record<string, string> {
  return {
    ROOT_CA_DIR: cacertsDirectory,
    CLUSTER_ID: clusterId,
    POD_NAME: `istiod-${clusterId}`.toLowerCase(),
    POD_NAMESPACE: "istio-system",
    REVISION: "default",
    PILOT_CERT_PROVIDER: "istiod",
    ENABLE_LEADER_ELECTION: "false",
    INJECT_ENABLED: "false",
    INJECTION_WEBHOOK_CONFIG_NAME: "",
    VALIDATION_WEBHOOK_CONFIG_NAME: "",
    ...env,
  };
}

export interface CertificateRequest {
  readonly istiod: Pick<Istiod, "secureGrpcAddress"> & Partial<Pick<Istiod, "cacertsDirectory">>;
  readonly csrPem: string;
  /** Token of the workload's account with audience `istio-ca`; its account becomes the name in the certificate. */
  readonly token?: string;
  /** Instead of a token: files with a key and a certificate that this istiod gave, whose name it gives again. */
  readonly identity?: { readonly keyFile: string; readonly certificateFile: string };
  /** Default: one hour. */
  readonly validitySeconds?: number;
  /** PEM file with which to verify istiod itself. Default: the root in its folder. */
  readonly rootFile?: string;
  /** Runs grpcurl where istiod can be reached. Default: here. */
  readonly run?: typeof runCommand;
}

/**
 * Asks istiod to sign, with Istio's own service definition and grpcurl, so by nothing of ours. Returns the chain as PEM
 * certificates: leaf first, root last.
 */
export async function createCertificate(request: CertificateRequest): Promise<readonly string[]> {
  const { istiod, csrPem, token = "", identity, validitySeconds = 3600, run = runCommand } = request;
  const tools = await ensureTools(["grpcurl", "istio-api"]);
  const rootFile = request.rootFile ?? join(istiod.cacertsDirectory ?? "", "root-cert.pem");
  const output = await run(
    tools.grpcurl,
    [
      ...["-cacert", rootFile, "-authority", SERVER_NAME, "-max-time", "20"],
      // grpcurl fills in the variable: a token among the arguments would be seen by every user of the machine.
      ...(identity
        ? ["-cert", identity.certificateFile, "-key", identity.keyFile]
        : ["-expand-headers", "-H", "authorization: Bearer ${TOKEN}"]),
      ...["-import-path", tools["istio-api"], "-proto", "security/v1alpha1/ca.proto", "-d", "@"],
      ...[istiod.secureGrpcAddress, "istio.v1.auth.IstioCertificateService/CreateCertificate"],
    ],
    { stdin: JSON.stringify({ csr: csrPem, validity_duration: validitySeconds }), env: { TOKEN: token } },
  );
  return (JSON.parse(output) as { certChain: string[] }).certChain;
}
