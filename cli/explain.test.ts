import assert from "node:assert/strict";
import { test } from "node:test";
import { NOT_LISTED } from "../common/api/virtual-mesh.ts";
import {
  ClusterSession,
  GetIntentResponse,
  HeldResource,
  IntentResource,
  KnownMesh,
  VirtualMeshStatus,
} from "../proto/gen/admin/v1/admin.ts";
import {
  CertificateState,
  IssuedCertificate,
  IssuedCertificateStatus,
  ReplicaStatus,
} from "../proto/gen/certificates/v1/certificates.ts";
import { type ClusterAnswers, explain, only } from "./explain.ts";
import { formatExplanation } from "./explain-text.ts";

const NAME = { namespace: "gloo-mesh", name: "istiod-istio-system-cluster-1" };
const VIRTUAL_MESH = { namespace: "gloo-mesh", name: "vm" };
const VERSION = Buffer.alloc(32, 0xab);
const at = (minute: number): Date => new Date(Date.UTC(2026, 0, 1, 12, minute));

type Session = Partial<ClusterSession>;
type Resource = Partial<IntentResource>;
type Replica = Partial<ReplicaStatus>;

const CONNECTED: Session = { identity: "ENROLLED", connected: true, connectedAt: at(0), agentVersion: "9.9.9" };

interface Situation {
  readonly session?: Session | undefined;
  /** undefined: nothing is wanted. */
  readonly resource?: Resource | undefined;
  readonly mesh?: Partial<KnownMesh> | undefined;
  readonly status?: Record<string, unknown> | undefined;
  readonly replicas?: readonly Replica[];
}

function answersOf({ session, resource, mesh, status, replicas = [] }: Situation): ClusterAnswers {
  const certificate = IssuedCertificate.create({ name: NAME, mesh: NAME, virtualMesh: VIRTUAL_MESH });
  const told = { ...IssuedCertificateStatus.create({ name: NAME }), replicas: replicas.map(toReplica) };
  const wanted = { ...IntentResource.create(), certificate, version: VERSION, ...resource };
  const known = { ...KnownMesh.create(), mesh: NAME, ...mesh };
  const clusters = [{ cluster: "cluster-1", mesh: NAME, connected: true, applied: true, certificate: told }];
  return {
    cluster: "cluster-1",
    session: session && { ...ClusterSession.create(), cluster: "cluster-1", ...session },
    intent: { ...GetIntentResponse.create(), resources: resource ? [wanted] : [], meshes: mesh ? [known] : [] },
    status: {
      virtualMeshes: [
        {
          ...VirtualMeshStatus.create({ name: VIRTUAL_MESH }),
          status: status ?? { state: "ACCEPTED", observedGeneration: 3 },
          clusters,
        },
      ],
      sourceProblems: [],
    },
  };
}

const toReplica = (replica: Replica): ReplicaStatus => ({ ...ReplicaStatus.create(), ...replica });

const IN_FORCE = { virtualMesh: VIRTUAL_MESH, generation: 3n };
const { CERTIFICATE_STATE_FINISHED: FINISHED, CERTIFICATE_STATE_FAILED: FAILED } = CertificateState;

/** The situations of a change, from the beginning to the end, and what is said of each. */
const SITUATIONS: readonly (readonly [what: string, Situation, stage: string | undefined, said: readonly RegExp[]])[] =
  [
    [
      "a cluster that is not registered",
      { mesh: {} },
      "unwanted",
      [/^cluster cluster-1 is not registered$/m, /meshctl cluster register cluster-1$/m],
    ],
    [
      "no agent has enrolled yet",
      { session: { identity: "REGISTERED" } },
      undefined,
      [/is registered and not connected/, /has not enrolled: start it with its token/],
    ],
    [
      "a mesh that nobody discovered",
      { session: CONNECTED },
      undefined,
      [/no Mesh of this cluster is known: its agent has found no istiod/],
    ],
    [
      "a mesh that no VirtualMesh lists",
      { session: CONNECTED, mesh: {} },
      "unwanted",
      [/no VirtualMesh in force lists Mesh istiod-istio-system-cluster-1\.gloo-mesh/],
    ],
    [
      "a VirtualMesh that lists it and is refused for it",
      {
        session: CONNECTED,
        mesh: {},
        status: { state: "INVALID", meshes: { [`${NAME.name}.gloo-mesh.`]: { errors: ["taken by another"] } } },
      },
      "unwanted",
      [/VirtualMesh vm\.gloo-mesh lists it, but: taken by another/],
    ],
    [
      "a VirtualMesh that is refused before it ever was in force",
      { session: CONNECTED, mesh: {}, status: { state: "INVALID", errors: ["spec.mtlsConfig: no"] } },
      "unwanted",
      [/VirtualMesh vm\.gloo-mesh, which may list it, is refused: spec\.mtlsConfig: no/],
    ],
    [
      "a VirtualMesh that asks for nothing",
      { session: CONNECTED, mesh: IN_FORCE },
      "unwanted",
      [/asks for no certificate from an intermediateCertificateAuthority/],
    ],
    [
      "a newer generation that is refused",
      {
        session: CONNECTED,
        mesh: IN_FORCE,
        resource: {},
        status: { state: "INVALID", observedGeneration: 4, errors: ["bad ttl"] },
      },
      "waiting",
      [
        /VirtualMesh vm\.gloo-mesh, generation 3, asks for it/,
        /generation 4 is refused, this one stays in force: bad ttl/,
        /next +mend the edit that is refused; of what stays in force: it is about to be sent/,
      ],
    ],
    [
      "an agent that is away",
      {
        session: { identity: "ENROLLED", endedAt: at(7), endReason: "the agent left" },
        mesh: IN_FORCE,
        resource: { sentAt: at(6), held: HeldResource.create({ version: Buffer.alloc(32, 1) }) },
      },
      "waiting",
      [
        /last session ended at 2026-01-01T12:07:00Z: the agent left/,
        /held +version 010101010101; what differs: meshctl relay diff/,
        /next +it is sent when the agent is connected/,
      ],
    ],
    [
      "a revoked cluster",
      { session: { identity: "REVOKED" }, mesh: IN_FORCE, resource: {} },
      "waiting",
      [/--renew-token/, /next +nothing is sent or heard before the cluster is let in again/],
    ],
    [
      "a mesh that is kept though the newest generation does not list it",
      {
        session: CONNECTED,
        mesh: IN_FORCE,
        resource: { acknowledged: true },
        status: {
          state: "ACCEPTED",
          observedGeneration: 3,
          meshes: { [`${NAME.name}.gloo-mesh.`]: { warnings: [`${NOT_LISTED}; stays in force until mended`] } },
        },
      },
      "stored",
      [
        /why +VirtualMesh vm\.gloo-mesh, generation 3, does not list it any more; it stays in force until/,
        /next +to release it, mend the meshes that VirtualMesh vm\.gloo-mesh lists/,
      ],
    ],
    [
      "a push whose session ended before the answer",
      { session: { identity: "ENROLLED" }, mesh: IN_FORCE, resource: { sentAt: at(1) } },
      "waiting",
      [
        /sent +2026-01-01T12:01:00Z, in a session that ended before an answer/,
        /next +it is sent when the agent is connected/,
      ],
    ],
    [
      "a push on its way",
      { session: CONNECTED, mesh: IN_FORCE, resource: { sentAt: at(1) } },
      "sent",
      [/sent +2026-01-01T12:01:00Z/, /next +the agent's answer/],
    ],
    [
      "a version that the agent refused",
      {
        session: CONNECTED,
        mesh: IN_FORCE,
        resource: {
          rejected: "no vault address",
          rejectedCode: "resource_invalid",
          refusals: 2,
          retryAt: at(9),
          sentAt: at(1),
          answeredAt: at(2),
        },
      },
      "refused",
      [
        /refused +resource_invalid: no vault address \(2 times\)/,
        /answered +2026-01-01T12:02/,
        /next +it is sent again at 2026-01-01T12:09:00Z; mend/,
      ],
    ],
    [
      "a version refused to another replica",
      { session: { ...CONNECTED, replica: "other" }, mesh: IN_FORCE, resource: { rejected: "no" } },
      "refused",
      [/connected to other since/, /refused +no$/m, /next +mend what the agent says/],
    ],
    [
      "what is stored while no istiod asks",
      { session: CONNECTED, mesh: IN_FORCE, resource: { acknowledged: true } },
      "stored",
      [/stored +its agent holds it; when it was sent is not known here/, /an istiod has to ask for it/],
    ],
    [
      "an istiod that Vault refuses",
      {
        session: CONNECTED,
        mesh: IN_FORCE,
        resource: { acknowledged: true, sentAt: at(1), answeredAt: at(2) },
        replicas: [
          {
            podName: "i",
            state: FAILED,
            error: { code: "vault_denied", message: "role r\nrefused", hint: "bind r" },
            connected: true,
          },
        ],
      },
      "stored",
      [/stored +2026-01-01T12:02:00Z/, /istiods +i\. FAILED, vault_denied: role r refused$/m, /next +i\.: bind r$/m],
    ],
    [
      "what every istiod signs with",
      {
        session: CONNECTED,
        mesh: IN_FORCE,
        resource: { acknowledged: true },
        replicas: [{ podName: "i", state: FINISHED, connected: true }],
      },
      "in use",
      [/next +nothing is left to do: every istiod was seen to sign with it/],
    ],
  ];

for (const [what, situation, stage, said] of SITUATIONS) {
  test(`explain - tells of ${what}`, () => {
    const explanation = explain(answersOf(situation));
    const text = formatExplanation(explanation);
    assert.equal(explanation.certificates[0]?.stage, stage, text);
    for (const sentence of said) assert.match(text, sentence);
    assert.match(text, /next {6}\S/);
  });
}

test("explain - shows one certificate by its name, with or without namespace, and says which there are", () => {
  const explanation = explain(answersOf({ session: CONNECTED, mesh: IN_FORCE, resource: {} }));
  for (const name of [NAME.name, `${NAME.name}.gloo-mesh`])
    assert.equal(only(explanation, name).certificates.length, 1);
  assert.throws(() => only(explanation, "gone"), { code: "not_found", hint: `it has ${NAME.name}.gloo-mesh` });
});

test("explain - a mesh that was taken out is let go when its agent is there to be told", () => {
  const nextWith = (session: Session): string => {
    const answers = answersOf({ session, mesh: {} });
    const surplus = [HeldResource.create({ name: NAME })];
    return explain({ ...answers, intent: { ...answers.intent, surplus } }).certificates[0]?.next ?? "";
  };
  assert.match(nextWith(CONNECTED), /^the agent is told to let it go/);
  assert.match(nextWith({ identity: "ENROLLED" }), /^when it is connected, the agent is told to let it go/);
  assert.match(nextWith({ identity: "REVOKED" }), /^when it is let in again, the agent is told to let it go/);
});

test("explain - what agents say drives no terminal", () => {
  const rejected = "\u001b[2Jgone\r\nnext      all is well";
  const text = formatExplanation(explain(answersOf({ session: CONNECTED, mesh: IN_FORCE, resource: { rejected } })));
  assert.equal(text.includes("\u001b"), false);
  assert.match(text, /refused +gone next/);
});
