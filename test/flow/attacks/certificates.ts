import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { StoredCredentials } from "../../../agent/identity/documents.ts";
import { type Authority, createRootCa, signCertificate } from "../../../common/pki/authority.ts";
import { certificateFacts, parseCertificate, toPem } from "../../../common/pki/certificate.ts";
import { createCsr } from "../../../common/pki/csr.ts";
import { generateKey, privateKeyToPem } from "../../../common/pki/keys.ts";
import { ISSUED_CERTIFICATE } from "../../../common/session/resource-set.ts";
import { identityUri, type KeyAndChain } from "../../../common/session/tls.ts";
import { AdminServiceService, ListSessionsRequest, RegistryServiceService } from "../../../proto/gen/admin/v1/admin.ts";
import { CertificateState, IssuedCertificateStatus } from "../../../proto/gen/certificates/v1/certificates.ts";
import { EnrollmentServiceService } from "../../../proto/gen/enrollment/v1/enrollment.ts";
import { RelayServiceService } from "../../../proto/gen/relay/v1/relay.ts";
import { eventually } from "../../harness/wait.ts";
import { replicaOf } from "../mesh.ts";
import { type Attack, type Battlefield, call, connectAs } from "./battlefield.ts";

const EC = { type: "ec", curve: "P-256" } as const;
const DAY_MS = 86_400_000;
const CLUSTER_1 = identityUri({ kind: "cluster", name: "cluster-1" });
const OF_CLUSTER_1 = { commonName: "cluster-1" };

type Changes = Partial<Parameters<typeof signCertificate>[0]>;

/** A client certificate for cluster-1, as the relay's CA would make it but for `changes`. */
async function forge(field: Battlefield, issuer: Authority, changes: Changes): Promise<StoredCredentials> {
  const key = await generateKey(EC);
  const now = Date.now();
  const certificate = await signCertificate({
    ...{ issuer, subject: OF_CLUSTER_1, publicKey: key, extendedKeyUsages: ["clientAuth"], uriSans: [CLUSTER_1] },
    ...{ dnsSans: ["cluster-1"], notBeforeMs: now - 2 * DAY_MS, notAfterMs: now + DAY_MS },
    ...changes,
  });
  const { trustBundlePem } = field.stolen;
  return { keyPem: privateKeyToPem(key), certificatePem: toPem([certificate]), trustBundlePem };
}

async function relayCa(field: Battlefield): Promise<Authority> {
  const text = await readFile(field.mesh.folder.file("server", "relay-ca.json"), "utf8");
  const { keyPem, certificatePem } = JSON.parse(text) as KeyAndChain;
  return { key: createPrivateKey(keyPem), certificate: parseCertificate(certificatePem) };
}

/** A root that is called like the relay's. */
async function foreignCa(field: Battlefield): Promise<Authority> {
  const key = await generateKey(EC);
  const { subject } = certificateFacts((await relayCa(field)).certificate);
  const commonName = subject.replace(/^CN=/, "");
  const span = { notBeforeMs: Date.now() - 2 * DAY_MS, notAfterMs: Date.now() + 10 * DAY_MS };
  return { key, certificate: await createRootCa({ subject: { commonName }, key, ...span }) };
}

/** Enrols a cluster of its own and opens its session. */
async function enrolled(field: Battlefield, cluster: string): Promise<StoredCredentials> {
  const { token } = await field.mesh.register(cluster);
  const key = await generateKey(EC);
  const request = { token, certificateSigningRequest: await createCsr({ key }), agentVersion: "" };
  const dialer = field.stranger();
  try {
    const { certificateChain, trustBundle } = await eventually("there is room to enrol", () =>
      dialer.unary(EnrollmentServiceService.enroll, request, call()),
    );
    return { keyPem: privateKeyToPem(key), certificatePem: certificateChain, trustBundlePem: trustBundle };
  } finally {
    dialer.close();
  }
}

const nameOf = (cluster: string) => ({ namespace: "gloo-mesh", name: `istiod-istio-system-${cluster}` });

const lieOf = (cluster: string) =>
  IssuedCertificateStatus.fromPartial({
    name: nameOf(cluster),
    replicas: [
      {
        ...{ podName: "evil\u001b]0;owned\u0007", podUid: "evil", serial: "66:66", connected: true },
        state: CertificateState.CERTIFICATE_STATE_FAILED,
        error: { code: "internal", message: "x".repeat(100_000) },
      },
    ],
  });

/** What somebody tries with a certificate. */
export const CERTIFICATE_ATTACKS: readonly Attack[] = [
  {
    name: "no certificate, or one of a foreign authority that is called like the relay's",
    attempt: async (field) => {
      const nothing = { ...field.stolen, ...(await forge(field, await foreignCa(field), {})) };
      await field.assertOpensNothing(nothing, "unavailable");
      const { trustBundlePem } = field.stolen;
      await field.assertOpensNothing({ keyPem: "", certificatePem: "", trustBundlePem }, "unavailable");
    },
  },
  {
    name: "an expired certificate of the relay's own authority, or a server's",
    attempt: async (field) => {
      const ca = await relayCa(field);
      const expired = await forge(field, ca, { notAfterMs: Date.now() - DAY_MS });
      await field.assertOpensNothing(expired, "unavailable");
      await field.assertOpensNothing(await forge(field, ca, { extendedKeyUsages: ["serverAuth"] }), "unavailable");
    },
  },
  {
    name: "a certificate with two names",
    attempt: async (field) => {
      const uriSans = [CLUSTER_1, identityUri({ kind: "operator", name: "root" })];
      await field.assertOpensNothing(await forge(field, await relayCa(field), { uriSans }), "unauthenticated");
    },
  },
  {
    name: "a common name and a DNS name of one's own making",
    attempt: async (field) => {
      const uriSans: string[] = [];
      await field.assertOpensNothing(await forge(field, await relayCa(field), { uriSans }), "unauthenticated");
      const request = await createCsr({ key: await generateKey(EC), commonName: "cluster-1", uriSans: [CLUSTER_1] });
      const dialer = field.intruder();
      const renewal = { certificateSigningRequest: request };
      const { certificateChain } = await dialer.unary(RelayServiceService.renewCertificate, renewal, call());
      dialer.close();
      const { subjectAltName } = parseCertificate(
        certificateChain.split(/(?<=-----END CERTIFICATE-----\n)/)[0] ?? "",
      ).x509;
      assert.match(subjectAltName ?? "", /^URI:spiffe:\/\/mesh-relay\/cluster\/cluster-2, DNS:cluster-2$/);
    },
  },
  {
    name: "a certificate that nobody issued, with the right name and authority",
    attempt: async (field) => field.assertOpensNothing(await forge(field, await relayCa(field), {}), "unauthenticated"),
  },
  {
    name: "another cluster's certificate",
    attempt: async (field) => {
      const dialer = field.intruder();
      const stop = new AbortController();
      const session = connectAs(dialer, stop.signal);
      assert.equal((await session.next())?.$case, "welcome");
      const certificates = [lieOf("cluster-1"), lieOf("cluster-2")];
      session.say({ $case: "status", value: { certificates, removals: [], whole: true, discovery: undefined } });
      const view = await field.mesh.status("the lie", (seen) => replicaOf(seen, "cluster-2")?.podUid === "evil");
      assert.equal(replicaOf(view, "cluster-2")?.error?.message.length, 1024);
      assert.notEqual(replicaOf(view, "cluster-1")?.podUid, "evil");
      for (;;) {
        const message = await session.next();
        if (message?.$case !== "push") continue;
        assert.equal(message.value.type, ISSUED_CERTIFICATE);
        assert.deepEqual(
          message.value.upserts.map(({ name }) => name),
          [nameOf("cluster-2")],
        );
        break;
      }
      for (const ask of [AdminServiceService.listSessions, RegistryServiceService.revokeCluster]) {
        const request = ListSessionsRequest.create({ cluster: "cluster-1" });
        const asked = dialer.unary(ask as typeof RegistryServiceService.revokeCluster, request, call());
        await assert.rejects(asked, { code: "permission_denied" }, ask.path);
      }
      stop.abort();
      dialer.close();
    },
  },
  {
    name: "a copy of an agent's identity beside the agent",
    attempt: async (field) => {
      const metric = 'mesh_relay_possible_clones_total{cluster="cluster-2"}';
      const dialer = field.intruder();
      for (const instance of ["agent", "clone", "agent", "clone", "agent"]) {
        const stop = new AbortController();
        const session = connectAs(dialer, stop.signal, instance);
        assert.equal((await session.next())?.$case, "welcome");
        stop.abort();
      }
      dialer.close();
      await eventually("it is counted", async () => (await field.metric(metric)) > 0);
    },
  },
  {
    name: "a revoked cluster that goes on, or comes back",
    attempt: async (field) => {
      const identity = await enrolled(field, "cluster-3");
      const { token: unused } = await field.mesh.register("cluster-3", true);
      const [dialer, operator, stranger] = [field.intruder(identity), field.operator(), field.stranger()];
      const session = connectAs(dialer, new AbortController().signal);
      assert.equal((await session.next())?.$case, "welcome");
      const ended = assert.rejects(session.end(), { code: "permission_denied" });
      const startMs = performance.now();
      const revoked = await operator.unary(RegistryServiceService.revokeCluster, { cluster: "cluster-3" }, call());
      await ended;
      assert.equal(revoked.sessionClosed, true);
      assert.ok(performance.now() - startMs < 5_000, "closed within seconds");
      await field.assertOpensNothing(identity, "permission_denied");
      const request = { token: unused, certificateSigningRequest: await createCsr({ key: await generateKey(EC) }) };
      const enrolment = stranger.unary(EnrollmentServiceService.enroll, { ...request, agentVersion: "" }, call());
      await assert.rejects(enrolment, (error: { code: string }) =>
        ["unauthenticated", "resource_exhausted"].includes(error.code),
      );
      for (const each of [dialer, operator, stranger]) each.close();
    },
  },
];
