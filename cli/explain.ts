import * as z from "zod";
import { NOT_LISTED } from "../common/api/virtual-mesh.ts";
import { MeshError } from "../common/runtime/errors.ts";
import {
  ClusterSession,
  type GetIntentResponse,
  type IntentResource,
  type KnownMesh,
  type VirtualMeshStatus,
  type WatchStatusResponse,
} from "../proto/gen/admin/v1/admin.ts";
import {
  CertificateState,
  certificateStateToJSON,
  type ReplicaStatus,
} from "../proto/gen/certificates/v1/certificates.ts";
import { nextOfCertificate, nextOfCluster } from "./explain-next.ts";
import { messageToJson } from "./message-json.ts";
import { formatName } from "./names.ts";

/** What the server knows of one cluster. */
export interface ClusterAnswers {
  readonly cluster: string;
  /** undefined for a cluster that is not registered. */
  readonly session: ClusterSession | undefined;
  readonly intent: GetIntentResponse;
  readonly status: Pick<WatchStatusResponse, "virtualMeshes" | "sourceProblems">;
}

/** Where a change is, as far as it got. */
export type Stage = "unwanted" | "waiting" | "sent" | "refused" | "stored" | "in use";

/** One istiod pod, as its agent told it. */
export interface IstiodExplanation {
  readonly pod: string;
  readonly state: string;
  readonly connected: boolean;
  readonly serial: string;
  readonly notAfter?: Date;
  /** Fault or evidence. */
  readonly says: string;
  readonly hint?: string;
}

export interface Refusal {
  readonly code: string;
  readonly message: string;
  /** How often; 0 where that is not known. */
  readonly times: number;
  /** When it is sent again without a change; absent: never, or not known here. */
  readonly retryAt?: Date;
}

/** Where the certificate of one mesh is on its way. */
export interface CertificateExplanation {
  readonly name: string;
  readonly mesh: string;
  readonly virtualMesh?: string;
  /** Generation of the VirtualMesh that is in force. */
  readonly generation?: number;
  readonly stage: Stage;
  /** Why the cluster shall hold it, or not, one sentence each. */
  readonly why: readonly string[];
  readonly wantedVersion?: string;
  readonly heldVersion?: string;
  readonly sentAt?: Date;
  readonly answeredAt?: Date;
  readonly refusal?: Refusal;
  readonly istiods: readonly IstiodExplanation[];
  readonly next: string;
}

export interface Explanation {
  readonly cluster: string;
  readonly session: ClusterSession | undefined;
  readonly certificates: readonly CertificateExplanation[];
  /** Faults of the sources: what they describe keeps its last good form. */
  readonly sourceProblems: readonly string[];
  /** What comes next for the cluster as a whole; empty where its certificates say it. */
  readonly next: string;
}

/** Says where the changes of a cluster are, and why. Nothing is made up: what the server does not know stays open. */
export function explain(answers: ClusterAnswers): Explanation {
  const { cluster, session, intent, status } = answers;
  const known = intent.meshes.map((mesh) => ofMesh(mesh, answers));
  const strays = intent.resources.filter(
    ({ certificate }) => !intent.meshes.some((mesh) => isSame(mesh.mesh, certificate?.mesh)),
  );
  const certificates = [...known, ...strays.map((resource) => ofResource(resource, undefined, answers))];
  return {
    ...{ cluster, session, certificates, sourceProblems: status.sourceProblems },
    next: nextOfCluster(session, cluster, certificates.length > 0),
  };
}

function ofMesh(mesh: KnownMesh, answers: ClusterAnswers): CertificateExplanation {
  const resource = answers.intent.resources.find(({ certificate }) => isSame(certificate?.mesh, mesh.mesh));
  if (resource) return ofResource(resource, mesh, answers);
  const name = formatName(mesh.mesh);
  const surplus = answers.intent.surplus.some((each) => each.name?.name === mesh.mesh?.name);
  const why = [
    ...whyNot(mesh, answers.status.virtualMeshes),
    ...(surplus ? ["its agent has not acknowledged yet that it was taken out"] : []),
  ];
  const next = surplus
    ? `${whenThere(answers.session)}the agent is told to let it go, and does so once no istiod uses it`
    : "write a VirtualMesh that lists this mesh, or mend the one that does";
  return { name, mesh: name, ...inForce(mesh), stage: "unwanted", why, istiods: [], next };
}

const whenThere = (session: ClusterSession | undefined): string =>
  session?.connected ? "" : `when it is ${session?.identity === "REVOKED" ? "let in again" : "connected"}, `;

function ofResource(
  resource: IntentResource,
  mesh: KnownMesh | undefined,
  answers: ClusterAnswers,
): CertificateExplanation {
  const { certificate, version, held, sentAt, answeredAt } = resource;
  const virtualMesh = formatName(mesh?.virtualMesh ?? certificate?.virtualMesh);
  const istiods = istiodsOf(resource, answers.status.virtualMeshes);
  const stage = stageOf(resource, istiods, answers.session);
  const heldVersion = resource.acknowledged ? version : held?.version;
  const facts = {
    name: formatName(certificate?.name),
    mesh: formatName(certificate?.mesh),
    virtualMesh,
    ...(mesh?.virtualMesh && { generation: Number(mesh.generation) }),
    stage,
    why: whyWanted(virtualMesh, mesh, answers.status.virtualMeshes),
    wantedVersion: version.toString("hex"),
    ...(heldVersion && { heldVersion: heldVersion.toString("hex") }),
    ...(sentAt && { sentAt }),
    ...(answeredAt && { answeredAt }),
    ...(resource.rejected !== "" && { refusal: refusalOf(resource) }),
    istiods,
  };
  const mend = whatToMend(virtualMesh, mesh, answers.status.virtualMeshes);
  return { ...facts, next: `${mend}${nextOfCertificate(facts, answers.session)}` };
}

function stageOf(
  resource: IntentResource,
  istiods: readonly IstiodExplanation[],
  session: ClusterSession | undefined,
): Stage {
  if (resource.acknowledged) {
    const isInUse = istiods.length > 0 && istiods.every(({ state }) => state === "FINISHED");
    return isInUse ? "in use" : "stored";
  }
  if (resource.rejected !== "") return "refused";
  // What was sent in a session that is over is sent again.
  const isInSession = session?.connected === true && (resource.sentAt ?? 0) >= (session.connectedAt ?? 0);
  return resource.sentAt && !resource.answeredAt && isInSession ? "sent" : "waiting";
}

function refusalOf({ rejectedCode: code, rejected: message, refusals: times, retryAt }: IntentResource): Refusal {
  return { code, message, times, ...(retryAt && { retryAt }) };
}

function istiodsOf({ certificate }: IntentResource, virtualMeshes: readonly VirtualMeshStatus[]): IstiodExplanation[] {
  const rows = virtualMeshes.flatMap(({ clusters }) => clusters);
  const row = rows.find(({ mesh }) => isSame(mesh, certificate?.mesh));
  return (row?.certificate?.replicas ?? []).map(istiodOf);
}

function istiodOf(replica: ReplicaStatus): IstiodExplanation {
  const { podName: name, podNamespace: namespace, state, connected, serial, notAfter, error, evidence } = replica;
  const isDone = state === CertificateState.CERTIFICATE_STATE_FINISHED && !error;
  return {
    pod: formatName({ name, namespace }),
    state: certificateStateToJSON(state).replace("CERTIFICATE_STATE_", ""),
    ...{ connected, serial },
    ...(notAfter && { notAfter }),
    says: error ? `${error.code}: ${error.message}` : isDone ? "" : evidence,
    ...(error?.hint && { hint: error.hint }),
  };
}

/** The part of a VirtualMesh's status that is read here; it may be a newer version's. */
const shownStatus = z.object({
  observedGeneration: z.number().catch(0),
  errors: z.array(z.string()).catch([]),
  state: z.string().catch("PENDING"),
  meshes: z
    .record(z.string(), z.object({ errors: z.array(z.string()).catch([]), warnings: z.array(z.string()).catch([]) }))
    .catch({}),
});

function inForce({ virtualMesh, generation }: KnownMesh): Pick<CertificateExplanation, "virtualMesh" | "generation"> {
  return virtualMesh ? { virtualMesh: formatName(virtualMesh), generation: Number(generation) } : {};
}

function whatToMend(name: string, mesh: KnownMesh | undefined, virtualMeshes: readonly VirtualMeshStatus[]): string {
  if (isKept(name, mesh, virtualMeshes)) {
    return `to release it, mend the meshes that VirtualMesh ${name} lists: meshctl status; until then: `;
  }
  const isRefused = newerThan(mesh, name, virtualMeshes)?.state === "INVALID";
  return isRefused ? "mend the edit that is refused; of what stays in force: " : "";
}

/** The generation that people see does not list the mesh, and it is in force all the same. */
function isKept(name: string, mesh: KnownMesh | undefined, virtualMeshes: readonly VirtualMeshStatus[]): boolean {
  const found = virtualMeshes.find((each) => formatName(each.name) === name);
  const verdict = shownStatus.parse(found?.status ?? {}).meshes[`${formatName(mesh?.mesh)}.`];
  return verdict?.warnings.some((warning) => warning.startsWith(NOT_LISTED)) === true;
}

/** A generation that people see, while the older one of `mesh` is in force. */
function newerThan(mesh: KnownMesh | undefined, name: string, virtualMeshes: readonly VirtualMeshStatus[]) {
  const found = virtualMeshes.find((each) => formatName(each.name) === name);
  const status = shownStatus.parse(found?.status ?? {});
  return mesh?.virtualMesh && status.observedGeneration > Number(mesh.generation) ? status : undefined;
}

function whyWanted(name: string, mesh: KnownMesh | undefined, virtualMeshes: readonly VirtualMeshStatus[]): string[] {
  const of = mesh?.virtualMesh ? `, generation ${mesh.generation},` : "";
  const why = [
    isKept(name, mesh, virtualMeshes)
      ? `VirtualMesh ${name}${of} does not list it any more; it stays in force until every listed mesh is accepted`
      : `VirtualMesh ${name}${of} asks for it`,
  ];
  const newer = newerThan(mesh, name, virtualMeshes);
  if (newer) {
    const { observedGeneration, state, errors } = newer;
    const fate = state === "INVALID" ? "is refused" : "is not in force yet";
    why.push(`generation ${observedGeneration} ${fate}, this one stays in force: ${errors.join("; ") || state}`);
  } else if (!virtualMeshes.some((each) => formatName(each.name) === name)) {
    why.push(`VirtualMesh ${name} is gone; what it asked for last stays in force`);
  }
  return why;
}

/** Why nothing is asked for in a mesh. */
function whyNot(mesh: KnownMesh, virtualMeshes: readonly VirtualMeshStatus[]): string[] {
  const name = formatName(mesh.mesh);
  if (mesh.lack !== "") return [`Mesh ${name} ${mesh.lack}`];
  if (mesh.virtualMesh) {
    return [
      `VirtualMesh ${formatName(mesh.virtualMesh)} is in force for Mesh ${name}, and asks for no certificate from an intermediateCertificateAuthority`,
    ];
  }
  const listing = virtualMeshes.flatMap((each) => {
    const { meshes, state } = shownStatus.parse(each.status ?? {});
    const verdict = meshes[`${name}.`];
    return verdict ? [`VirtualMesh ${formatName(each.name)} lists it, but: ${verdict.errors.join("; ") || state}`] : [];
  });
  if (listing.length > 0) return listing;
  const refused = virtualMeshes.flatMap((each) => {
    const { state, errors } = shownStatus.parse(each.status ?? {});
    return state === "INVALID"
      ? [`VirtualMesh ${formatName(each.name)}, which may list it, is refused: ${errors.join("; ")}`]
      : [];
  });
  return [`no VirtualMesh in force lists Mesh ${name}`, ...refused];
}

type Name = { readonly name: string; readonly namespace: string } | undefined;

const isSame = (a: Name, b: Name): boolean => a !== undefined && a.name === b?.name && a.namespace === b.namespace;

/** The same with one certificate alone, by its name or its Mesh's. Throws `not_found`. */
export function only(explanation: Explanation, wanted: string | undefined): Explanation {
  if (wanted === undefined) return explanation;
  const { certificates, cluster } = explanation;
  const found = certificates.filter(({ name, mesh }) => {
    return [name, mesh].some((each) => each === wanted || each.slice(0, each.lastIndexOf(".")) === wanted);
  });
  if (found.length > 0) return { ...explanation, certificates: found };
  const there = certificates.map(({ name }) => name).join(", ");
  throw new MeshError("not_found", `cluster ${cluster} has neither a certificate nor a mesh ${wanted}`, {
    hint: there === "" ? "it has none at all: meshctl relay explain says why" : `it has ${there}`,
  });
}

/** As `--json` prints it. */
export function explanationToJson(explanation: Explanation): unknown {
  const { session, ...rest } = explanation;
  return { ...rest, session: session && messageToJson(ClusterSession, session) };
}
