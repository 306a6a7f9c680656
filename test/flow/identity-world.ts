import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { connect } from "node:tls";
import { AgentIdentity, type AgentIdentityOptions } from "../../agent/identity/agent-identity.ts";
import type { AgentCredentials } from "../../agent/identity/documents.ts";
import { fileIdentityHome, type FileIdentityOptions } from "../../agent/identity/file-home.ts";
import { type Authority, signCertificate } from "../../common/pki/authority.ts";
import { toPem } from "../../common/pki/certificate.ts";
import { generateKey, privateKeyToPem } from "../../common/pki/keys.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { silentLog } from "../../common/runtime/log.ts";
import { StateDirectory } from "../../common/runtime/state-directory.ts";
import { Dialer } from "../../common/session/client.ts";
import { bidi, unary } from "../../common/session/handlers.ts";
import { type GrpcServer, methodTable, startGrpcServer } from "../../common/session/server.ts";
import { type KeyAndChain } from "../../common/session/tls.ts";
import { AdminServiceService, RegistryServiceService } from "../../proto/gen/admin/v1/admin.ts";
import { EnrollmentServiceService } from "../../proto/gen/enrollment/v1/enrollment.ts";
import {
  type RelayServiceServer,
  RelayServiceService,
  type RenewCertificateRequest,
} from "../../proto/gen/relay/v1/relay.ts";
import { adminService, registryService } from "../../server/admin/services.ts";
import { enrollmentService } from "../../server/identity/enrollment-service.ts";
import type { ServerIdentity } from "../../server/identity/identity.ts";
import { openLocalIdentity } from "../../server/store/local-identity.ts";
import { type ClusterPrincipal, enrollmentMethods, relayMethods } from "../../server/identity/methods.ts";
import type { ClusterRegistry } from "../../server/identity/registry.ts";
import { DEFAULT_SERVER_NAMES } from "../../server/identity/relay-ca.ts";
import { type TemporaryFolder, temporaryFolder } from "../harness/folder.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";

export const DAY_MS = 86_400_000;

/** A server's identity room behind its two TLS listeners, and a folder for agents. */
export interface World extends AsyncDisposable {
  readonly clock: ManualClock;
  readonly folder: TemporaryFolder;
  readonly identity: ServerIdentity;
  readonly relay: GrpcServer;
  readonly enrollment: GrpcServer;
  readonly signal: AbortSignal;
}

/** Answers Connect with the cluster that the listener read from the certificate. */
function relayService(identity: ServerIdentity): RelayServiceServer {
  return {
    connect: bidi(async (_requests, send, { principal }: { principal: ClusterPrincipal }) =>
      send({ message: { $case: "drain", value: { reason: principal.cluster, within: undefined } } }),
    ),
    renewCertificate: unary((request: RenewCertificateRequest, { principal }: { principal: ClusterPrincipal }) =>
      identity.renew(principal.peer, request),
    ),
  };
}

/** A registry that enrols and then fails to say so, `count` times. */
function losing(registry: ClusterRegistry, count: number): Pick<ClusterRegistry, "enroll"> {
  let left = count;
  return {
    enroll: async (...args) => {
      const signed = await registry.enroll(...args);
      if (left-- > 0) throw new MeshError("internal", "the answer is lost");
      return signed;
    },
  };
}

/** TLS judges certificates by the machine's clock, so a test that moves time starts in the past. */
export async function startWorld({ startMs = Date.now(), loseAnswers = 0 } = {}): Promise<World> {
  const folder = await temporaryFolder();
  const clock = new ManualClock(startMs);
  const directory = await StateDirectory.open(folder.file("server"), { program: "enterprise-networking" });
  const identity = await openLocalIdentity({ directory, names: DEFAULT_SERVER_NAMES, clock, log: silentLog });
  const { registry, rotation, pki } = identity;
  const { certificate } = pki;
  const sources = { async *watchStatus() {}, session: () => undefined, getIntent: () => undefined };
  const relay = await startGrpcServer({
    listen: "127.0.0.1:0",
    credentials: certificate.relay,
    authorize: methodTable(relayMethods(registry)),
    services: [
      { definition: RelayServiceService, implementation: relayService(identity) },
      { definition: AdminServiceService, implementation: adminService({ sources, registry, rotation, clock }) },
      { definition: RegistryServiceService, implementation: registryService({ sources, registry, rotation }) },
    ],
  });
  const enrollment = await startGrpcServer({
    listen: "127.0.0.1:0",
    credentials: certificate.enrollment,
    authorize: methodTable(enrollmentMethods),
    services: [
      {
        definition: EnrollmentServiceService,
        implementation: enrollmentService({ registry: losing(registry, loseAnswers), clock }),
      },
      { definition: RegistryServiceService, implementation: registryService({ sources, registry, rotation }) },
    ],
  });
  const stop = new AbortController();
  return {
    clock,
    folder,
    identity,
    relay,
    enrollment,
    signal: stop.signal,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all([relay.close(100), enrollment.close(100)]);
      await directory.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

export interface Agent {
  readonly identity: AgentIdentity;
  readonly directory: StateDirectory;
  readonly tokenFile: string;
}

type AgentChanges = Partial<FileIdentityOptions & AgentIdentityOptions["enrollment"]>;

export async function openAgent(world: World, cluster: string, changes: AgentChanges = {}) {
  const { folder, clock, enrollment, identity } = world;
  const tokenFile = folder.file(`${cluster}.token`);
  const directory = await StateDirectory.open(folder.file(cluster), { program: "enterprise-agent", cluster });
  const { address } = enrollment;
  const home = fileIdentityHome({
    ...{ directory, cluster, address, tokenFile, trustPin: identity.pki.ca.trustPin },
    ...changes,
  });
  const target = { address, authority: changes.authority };
  const options = { home, cluster, enrollment: target, clock, random: () => 0.5, log: silentLog };
  return { identity: await AgentIdentity.open(options), directory, tokenFile } satisfies Agent;
}

export async function enrolledAgent(world: World, cluster: string): Promise<Agent> {
  const agent = await openAgent(world, cluster);
  await writeFile(agent.tokenFile, (await world.identity.registry.register(cluster)).text);
  await agent.identity.ensure(world.signal);
  return agent;
}

export function dial(world: World, identity: KeyAndChain | undefined): Dialer {
  const rootsPem = world.identity.pki.ca.trustBundlePem;
  const tls = { rootsPem, minVersion: "TLSv1.3", ...(identity ? { identity } : {}) } as const;
  return new Dialer({ address: world.relay.address, tls, peer: "server" });
}

export const EC = { type: "ec", curve: "P-256" } as const;
export const SPAN = { notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + DAY_MS };

/** A client certificate for a name that means nothing, with the alternative names given. */
export async function signClient(
  issuer: Authority,
  names: { uriSans: string[]; dnsSans?: string[] },
): Promise<KeyAndChain> {
  const key = await generateKey(EC);
  const subject = { commonName: "cluster-1" };
  const certificate = await signCertificate({
    issuer,
    subject,
    publicKey: key,
    extendedKeyUsages: ["clientAuth"],
    ...names,
    ...SPAN,
  });
  return { keyPem: privateKeyToPem(key), certificatePem: toPem([certificate]) };
}

export async function readRelayCa(world: World): Promise<KeyAndChain> {
  return JSON.parse(await readFile(world.folder.file("server", "relay-ca.json"), "utf8")) as KeyAndChain;
}

/** The cluster that the server reads from a certificate; throws what the server answers. */
export async function connectAs(world: World, identity: KeyAndChain | undefined): Promise<string | undefined> {
  const dialer = dial(world, identity);
  try {
    const stream = dialer.bidi(RelayServiceService.connect, world.signal);
    for await (const { message } of stream.messages()) {
      if (message?.$case === "drain") return message.value.reason;
    }
    return undefined;
  } finally {
    dialer.close();
  }
}

export async function renewNow(world: World, identity: AgentIdentity): Promise<{ stop: () => Promise<void> }> {
  const before = identity.current();
  const controller = new AbortController();
  const running = identity.run(controller.signal, (csr) => renewOver(world, before, csr));
  world.clock.advance(1.2 * DAY_MS);
  await identity.credentials.until(({ serial }) => serial !== before.serial, AbortSignal.timeout(30_000));
  return {
    stop: async () => {
      controller.abort();
      await assert.rejects(running);
    },
  };
}

export async function serverSerial(address: string): Promise<string> {
  const [host, port] = address.split(":");
  const socket = connect({ host, port: Number(port), ALPNProtocols: ["h2"], rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

export async function renewOver(world: World, credentials: AgentCredentials, csr: string) {
  const dialer = dial(world, credentials);
  try {
    const request = { certificateSigningRequest: csr };
    return await dialer.unary(RelayServiceService.renewCertificate, request, {
      signal: world.signal,
      timeoutMs: 20_000,
    });
  } finally {
    dialer.close();
  }
}
