import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { CertificateRequest, IssuedCertificate, VaultCertificateAuthority } from "./certificates.ts";
import { RESOURCE_DEFINITIONS } from "./crds.gen.ts";
import type { KubernetesCluster, Mesh } from "./discovery.ts";
import type { PodBounceDirective } from "./pod-bounce.ts";
import type { JsonSchema, Resource } from "./resources.ts";
import type { DestinationSelector, VirtualMesh } from "./virtual-mesh.ts";

/** Every field is there, so that the compiler finds one that the type lacks, and the walk one that the schema lacks. */
type Full<T> = T extends readonly unknown[]
  ? readonly Full<T[number]>[]
  : T extends object
    ? { readonly [K in keyof T]-?: Full<T[K]> }
    : T;
type FullResource<T extends Resource> = Full<Pick<T, "spec" | "status">>;

const ref = { name: "n", namespace: "ns" };
const options = { ttlDays: 1, rsaKeySizeBytes: 2048, orgName: "o", secretRotationGracePeriodRatio: 0.5 };
const vault: Full<VaultCertificateAuthority> = {
  caPath: "p",
  csrPath: "p",
  server: "s",
  caBundle: "",
  caLocalPath: "/f",
  namespace: "n",
  tokenSecretRef: ref,
  kubernetesAuth: { mountPath: "m", role: "r", secretTokenKey: "k", serviceAccountRef: ref, mountedSaPath: "/d" },
};
const selector: Full<DestinationSelector> = {
  kubeServiceMatcher: { labels: { a: "b" }, namespaces: ["n"], clusters: ["c"] },
  kubeServiceRefs: { services: [{ name: "n", namespace: "ns", clusterName: "c" }] },
};
const trust = {
  rootCertificateAuthority: { generated: options, secret: ref },
  intermediateCertificateAuthority: { vault },
  intermediateCertOptions: options,
};
const approval = { acceptanceOrder: 1, state: "FAILED", errors: ["e"], warnings: ["w"] } as const;
const virtualMeshSpec: Full<VirtualMesh["spec"]> = {
  meshes: [ref],
  mtlsConfig: {
    shared: trust,
    limited: {},
    autoRestartPods: true,
    rotationVerificationMethod: { none: {}, manual: {} },
    rotationStrategy: "NONE",
  },
  federation: {
    selectors: [{ destinationSelectors: [selector], meshes: [ref] }],
    permissive: {},
    flatNetwork: true,
    hostnameSuffix: "h",
    tcpKeepalive: { probes: 1, time: "1s", interval: "1s" },
    eastWestIngressGatewaySelectors: [{ destinationSelectors: [selector], portName: "p" }],
    ingressGatewaySelectors: [
      { destinationSelectors: [selector], portName: "p", overrideHostInfo: { addr: "a", port: 1 } },
    ],
    tlsEnforcementSettings: { enforcementMode: "STRICT" },
  },
  globalAccessPolicy: "ENABLED",
};
const condition = {
  type: "t",
  status: "True",
  observedGeneration: 1,
  lastTransitionTime: "t",
  reason: "r",
  message: "m",
} as const;
const certificateStatus: Full<NonNullable<IssuedCertificate["status"]>> = {
  observedGeneration: 1,
  error: "e",
  state: "FINISHED",
  appliedGlooMeshCa: { signingCertificateSecret: ref },
  appliedAgentCa: { vault },
  observedRotationState: "FINISHED",
  replicas: [
    {
      podUid: "u",
      podName: "p",
      state: "ISSUED",
      error: { code: "c", message: "m", hint: "h" },
      serial: "s",
      subjectKeyId: "k",
      rootSha256: "r",
      issuer: "i",
      notBefore: "t",
      notAfter: "t",
      renewAt: "t",
      evidence: "e",
      warnings: ["w"],
      vaultServer: "v",
      connected: true,
      podNamespace: "n",
      orderVersion: "v",
      directory: "d",
      agent: "a",
      challengedBy: "b",
    },
  ],
  notAfter: "t",
  detached: true,
  conditions: [condition],
};
const virtualMesh: FullResource<VirtualMesh> = {
  spec: virtualMeshSpec,
  status: {
    observedGeneration: 1,
    state: "ACCEPTED",
    errors: ["e"],
    meshes: { "n.ns.": approval },
    destinations: { "n.ns.": approval },
    conditions: [condition],
    deployedSharedTrust: { ...trust, rootSha256: "r", rootProvedBy: "c" },
    rotation: { history: [{ timestamp: "t", state: "VERIFIED", message: "m", errors: ["e"] }] },
  },
};
const mesh: FullResource<Mesh> = {
  spec: {
    istio: {
      installation: { namespace: "n", cluster: "c", podLabels: { a: "b" }, version: "v", region: "r", deployment: "d" },
      trustDomain: "t",
      istiodServiceAccount: "s",
      ingressGateways: [
        {
          name: "n",
          namespace: "ns",
          workloadLabels: { a: "b" },
          dnsName: "d",
          ip: "i",
          externalAddress: "a",
          externalTlsPort: 1,
          tlsContainerPort: 1,
        },
      ],
      smartDnsProxyingEnabled: true,
      rootNamespace: "r",
    },
    agentInfo: { agentNamespace: "a" },
    issuedCertificateStatus: certificateStatus,
  },
  status: {
    observedGeneration: 1,
    appliedVirtualMesh: { ref, observedGeneration: 1, acceptanceOrder: 1, spec: virtualMeshSpec },
    appliedVirtualDestinations: [{}],
    appliedEastWestIngressGateways: [{}],
    removal: { virtualMesh: ref, since: "t" },
    issuedCertificate: {
      epoch: 1,
      acknowledgedVersion: "v",
      rejected: "r",
      rejectedVersion: "v",
      acknowledgedRemoval: "t",
      observedVersion: "v",
      state: "FAILED",
      error: { code: "c", message: "m", hint: "h" },
      notAfter: "t",
      detached: true,
      replicas: certificateStatus.replicas.map(({ challengedBy: _, ...replica }) => replica),
      podBounce: { state: "FINISHED", message: "m", restarted: 1, remaining: 1, unmanaged: ["n/p"] },
    },
    conditions: [condition],
  },
};
const certificateRecord = { serial: "s", fingerprint: "f", keyHash: "k", notAfter: "t", trust: "h" };
const cluster: FullResource<KubernetesCluster> = {
  spec: {
    secretName: "s",
    clusterDomain: "d",
    providerInfo: { eks: { arn: "a", accountId: "i", region: "r", name: "n" } },
  },
  status: {
    status: [{ state: "ACCEPTED", message: "m", observedGeneration: 1, processingTime: "t", owner: "o" }],
    namespace: "n",
    policyRules: [{ verbs: ["v"], apiGroups: ["g"], resources: ["r"], resourceNames: ["n"], nonResourceUrls: ["u"] }],
    identity: {
      state: "ENROLLED",
      current: certificateRecord,
      next: certificateRecord,
      previous: { ...certificateRecord, refusedFrom: "t" },
      token: { id: "i", secretHash: "h", expiresAt: "t", failures: 0, usedAt: "t", usedByKeyHash: "h" },
    },
    session: {
      epoch: 1,
      sessionId: "s",
      replica: "r",
      connected: true,
      peer: "p",
      agentVersion: "v",
      connectedAt: "t",
      endedAt: "t",
      endReason: "r",
      clockOffsetMs: 1,
      turns: ["p"],
    },
  },
};
const issuedCertificate: FullResource<IssuedCertificate> = {
  spec: {
    hosts: ["h"],
    org: "o",
    signingCertificateSecret: ref,
    issuedCertificateSecret: ref,
    podBounceDirective: ref,
    certOptions: options,
    glooMeshCa: { signingCertificateSecret: ref },
    agentCa: { vault },
    rotationState: "VERIFYING",
    mesh: ref,
    virtualMesh: ref,
    installation: { namespace: "n", deployment: "d", serviceAccounts: ["s"] },
  },
  status: certificateStatus,
};
const certificateRequest: FullResource<CertificateRequest> = {
  spec: { certificateSigningRequest: "r" },
  status: {
    observedGeneration: 1,
    error: "e",
    state: "FINISHED",
    signedCertificate: "c",
    signingRootCa: "c",
    certChain: "c",
  },
};
const podBounceDirective: FullResource<PodBounceDirective> = {
  spec: {
    podsToBounce: [
      {
        namespace: "n",
        labels: { a: "b" },
        waitForReplicas: 1,
        rootCertSync: { secretRef: ref, secretKey: "k", configMapRef: ref, configMapKey: "k" },
      },
    ],
    issuedCertificate: ref,
    rootSha256: "r",
    restartRequestedAt: "t",
  },
  status: {
    observedGeneration: 1,
    podsBounced: [{ bouncedPods: ["p"] }],
    state: "FINISHED",
    error: "e",
    message: "m",
    restarted: 1,
    remaining: 1,
    unmanaged: ["n/p"],
    conditions: [condition],
  },
};

const FULL: Readonly<Record<string, unknown>> = {
  VirtualMesh: virtualMesh,
  Mesh: mesh,
  KubernetesCluster: cluster,
  IssuedCertificate: issuedCertificate,
  CertificateRequest: certificateRequest,
  PodBounceDirective: podBounceDirective,
};

/** Places where the fields of a value and of its schema are not the same ones. */
function differences(schema: JsonSchema, value: unknown, path: string): string[] {
  if (schema["x-kubernetes-preserve-unknown-fields"]) return [];
  if (schema.items) return differences(schema.items, (value as unknown[])[0], `${path}[]`);
  if (typeof schema.additionalProperties === "object") {
    return differences(schema.additionalProperties, Object.values(value as object)[0], `${path}{}`);
  }
  if (schema.type !== "object") {
    const kind = schema.type === "integer" ? "number" : schema.type;
    const isMember = schema.enum?.includes(String(value)) ?? true;
    return typeof value === kind && isMember ? [] : [`${path}: ${String(value)} is no ${String(kind)}`];
  }
  const fields = schema.properties ?? {};
  const values = value as Record<string, unknown>;
  const names = new Set([...Object.keys(fields), ...Object.keys(values)]);
  return [...names].flatMap((name) => {
    const field = fields[name];
    if (!field || !(name in values)) return [`${path}.${name} is only in the ${field ? "schema" : "type"}`];
    return differences(field, values[name], `${path}.${name}`);
  });
}

describe("crds", () => {
  for (const { kind, schema } of RESOURCE_DEFINITIONS) {
    it(`crds - the type ${kind} has the fields of its schema and no others`, () => {
      const { spec, status } = schema.properties ?? {};
      assert.deepEqual(
        differences({ type: "object", properties: { spec: spec ?? {}, status: status ?? {} } }, FULL[kind], kind),
        [],
      );
    });
  }

  it("crds - an IssuedCertificate carries the same vault authority and options as a VirtualMesh", () => {
    const spec = (kind: string): JsonSchema | undefined =>
      RESOURCE_DEFINITIONS.find((definition) => definition.kind === kind)?.schema.properties?.["spec"];
    const shared = spec("VirtualMesh")?.properties?.["mtlsConfig"]?.properties?.["shared"]?.properties;
    const certificate = spec("IssuedCertificate")?.properties;
    assert.ok(shared && certificate);
    assert.deepEqual(certificate["agentCa"]?.properties, shared["intermediateCertificateAuthority"]?.properties);
    assert.deepEqual(certificate["certOptions"], shared["intermediateCertOptions"]);
  });
});
