import type { VirtualMeshSpec } from "../../common/api/virtual-mesh.ts";
import type { ConditionFact } from "../intent/verdict.ts";

type Note = Pick<ConditionFact, "type" | "message">;

/** One condition for each thing that a spec asks for and that nothing here does yet, so that none is silently ignored. */
export function notActedOn(spec: VirtualMeshSpec, generation: number): ConditionFact[] {
  const notes = [...federationNotes(spec), ...accessNotes(spec), ...trustNotes(spec)];
  const common = { status: "False", observedGeneration: generation, reason: "NotActedOn" } as const;
  return notes.map(({ type, message }) => ({ type, ...common, message }));
}

function federationNotes({ federation }: VirtualMeshSpec): Note[] {
  if (!federation || Object.keys(federation).length === 0) return [];
  const message = `spec.federation (${Object.keys(federation).join(", ")}) is accepted but not acted on yet: no Destination is offered to another mesh`;
  return [{ type: "Federation", message }];
}

function accessNotes({ globalAccessPolicy: policy = "MESH_DEFAULT" }: VirtualMeshSpec): Note[] {
  if (policy === "MESH_DEFAULT") return [];
  const message = `spec.globalAccessPolicy ${policy} is accepted but not acted on yet: no AuthorizationPolicy is written`;
  return [{ type: "GlobalAccessPolicy", message }];
}

function trustNotes({ mtlsConfig }: VirtualMeshSpec): Note[] {
  const notes: Note[] = [];
  const root = mtlsConfig?.shared?.rootCertificateAuthority;
  if (root) {
    const message = `a ${root.secret ? "secret" : "generated"} root is accepted but not acted on yet: no certificate is issued, use intermediateCertificateAuthority`;
    notes.push({ type: "RootCertificateAuthority", message });
  }
  if (mtlsConfig?.rotationStrategy !== undefined || mtlsConfig?.rotationVerificationMethod !== undefined) {
    const message =
      "rotationStrategy and rotationVerificationMethod are accepted but not acted on yet: no root is rotated";
    notes.push({ type: "RootRotation", message });
  }
  return notes;
}
