import { readFile } from "node:fs/promises";
import { IstiodServiceService } from "../proto/gen/istiod/v1/istiod.ts";
import { systemClock } from "../common/runtime/clock.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { createRegistry, runMonitor } from "../common/runtime/metrics.ts";
import type { ProgramContext } from "../common/runtime/process.ts";
import { StateDirectory } from "../common/runtime/state-directory.ts";
import { runTasks } from "../common/runtime/tasks.ts";
import { Dialer } from "../common/session/client.ts";
import { methodTable, runGrpcServer } from "../common/session/server.ts";
import { keyOf } from "../common/session/resource-set.ts";
import { IntentHolder } from "./apply/intent-holder.ts";
import { runIstiodServer } from "./certs/istiod-server.ts";
import { debugMethods, ISTIOD_SERVICE, istiodService } from "./certs/istiod-service.ts";
import { KubernetesTokenReviewer } from "./certs/kubernetes-token-reviewer.ts";
import type { TokenReviewer } from "./certs/token-reviewer.ts";
import { JwtTokenReviewer } from "./certs/jwt-token-reviewer.ts";
import { LinkBook } from "./certs/links.ts";
import { istiodCaFileOf, type AgentConfig } from "./config.ts";
import { AgentIdentity } from "./identity/agent-identity.ts";
import type { AgentCredentials } from "./identity/documents.ts";
import { defaultEnrollmentAddress } from "./identity/options.ts";
import { registerAgentMetrics } from "./metrics.ts";
import { RelayClient } from "./relay/relay-client.ts";
import { fileIntentStore } from "./store/intent-store.ts";

/** A replica that left is forgotten after this time, once its certificate has expired too. */
const FORGET_REPLICA_MS = 60 * 60_000;

const RELEASE_GRACE_MS = 10 * 60_000;

/** Runs the program until its signal is aborted: opens its state, wires the rooms, serves. */
export async function runAgent(config: AgentConfig, { log, signal }: ProgramContext): Promise<void> {
  const clock = systemClock;
  const random = Math.random;
  const reviewer = await tokenReviewer(config);
  const { cluster, authority, tokenFile, trustPin, trustBundleFile } = config;
  const directory = await StateDirectory.open(config.stateDir, { program: "enterprise-agent", cluster });
  try {
    const address = config.enrollmentAddress ?? defaultEnrollmentAddress(config.serverAddress);
    const enrollment = { address, authority, tokenFile, trustPin, trustBundleFile };
    const identity = await AgentIdentity.open({ directory, cluster, enrollment, clock, random, log });
    const intent = await IntentHolder.open(fileIntentStore(directory));
    const book = new LinkBook({
      held: intent.certificates,
      context: { cluster, vault: await vaultOverrides(config) },
      forgetAfterMs: FORGET_REPLICA_MS,
      clock,
    });
    const relay = new RelayClient({
      clock,
      random,
      log,
      identity,
      intent,
      statuses: book.statuses,
      dial: (credentials) => dialServer(config, credentials),
    });
    const registry = createRegistry();
    registerAgentMetrics(registry, { identity, intent, relay });
    await runTasks(signal, {
      istiods: (stop) => runIstiodServer({ ...istiodServerOptions(config), reviewer, book, clock, log }, stop),
      relay: async (stop) => {
        await identity.ensure(stop);
        await runTasks(stop, {
          session: (inner) => relay.run(inner),
          identity: (inner) => identity.run(inner, (csr, until) => relay.renewCertificate(csr, until)),
          renewals: async (inner) => {
            for await (const credentials of identity.credentials.watch(inner)) relay.reconnectUnless(credentials);
          },
        });
      },
      release: (stop) => releaseUnused(intent, book, stop),
      debug: (stop) =>
        runGrpcServer(
          {
            listen: config.debugListen,
            services: [
              { definition: IstiodServiceService, implementation: istiodService({ book, clock, log, stopping: stop }) },
            ],
            authorize: methodTable(debugMethods),
            reflect: [ISTIOD_SERVICE],
            channelz: true,
          },
          stop,
          (listening) => log.info("serving debug grpc", { listen: listening }),
        ),
      monitor: (stop) =>
        runMonitor({ listen: config.monitorListen, registry, ready: () => [] }, stop, (listening) =>
          log.info("serving metrics", { listen: listening }),
        ),
    });
  } finally {
    await directory.close();
  }
}

/** Lets go of what was removed on purpose once no pod, linked or remembered, uses it. */
async function releaseUnused(intent: IntentHolder, book: LinkBook, signal: AbortSignal): Promise<void> {
  // After a restart the pods must have had time to link again before anybody is taken for gone.
  await systemClock.sleep(RELEASE_GRACE_MS, signal);
  for await (const statuses of book.statuses.watch(signal)) {
    const used = new Set(statuses.flatMap(({ name, replicas }) => (name && replicas.length > 0 ? [keyOf(name)] : [])));
    await intent.release((name) => used.has(keyOf(name)));
  }
}

function dialServer({ serverAddress, authority }: AgentConfig, credentials: AgentCredentials): Dialer {
  const { trustBundlePem: rootsPem, keyPem, certificatePem } = credentials;
  return new Dialer({
    address: serverAddress,
    authority,
    peer: `management server ${serverAddress}`,
    tls: { rootsPem, identity: { keyPem, certificatePem }, minVersion: "TLSv1.3" },
  });
}

function istiodServerOptions(config: AgentConfig) {
  const { istiodListen: listen, istiodServiceAccounts: accounts, istiodNames: servingNames } = config;
  return { listen, accounts, servingNames, servingCaFile: istiodCaFileOf(config) };
}

async function tokenReviewer({ tokenJwksFile, tokenKubeconfig, tokenIssuer }: AgentConfig): Promise<TokenReviewer> {
  if (tokenJwksFile !== undefined && tokenKubeconfig === undefined) {
    return new JwtTokenReviewer({ jwksFile: tokenJwksFile, issuer: tokenIssuer, clock: systemClock });
  }
  if (tokenKubeconfig !== undefined && tokenJwksFile === undefined) {
    // Loaded only where it is used: the Kubernetes client costs tens of MiB.
    const { tokenReviewClient } = await import("../common/kube/token-review.ts");
    return new KubernetesTokenReviewer(tokenReviewClient(tokenKubeconfig));
  }
  throw new MeshError("config_invalid", "one of --istiod-jwks-file and --istiod-kubeconfig is needed", {
    hint: "it says how the tokens of the istiod-agents are verified",
  });
}

async function vaultOverrides(config: AgentConfig) {
  const { vaultServer: server, vaultNamespace: namespace, vaultMountPath: mountPath, vaultCaBundleFile } = config;
  const caBundle = vaultCaBundleFile === undefined ? undefined : await readFile(vaultCaBundleFile, "utf8");
  return { server, namespace, mountPath, caBundle };
}
