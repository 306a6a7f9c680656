import { certificateFacts } from "../../common/pki/certificate.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { type LaggingCluster, type RelayCa, RelayCaStage } from "../../proto/gen/admin/v1/admin.ts";
import type { RotationStage } from "../identity/pki.ts";
import { pinOf } from "../identity/relay-ca.ts";
import type { RelayCaRotation } from "../identity/rotation.ts";
import type { AdminSources } from "./services.ts";

const STAGES: Readonly<Record<RotationStage, RelayCaStage>> = {
  STABLE: RelayCaStage.RELAY_CA_STAGE_STABLE,
  TRUSTING: RelayCaStage.RELAY_CA_STAGE_TRUSTING,
  SWITCHED: RelayCaStage.RELAY_CA_STAGE_SWITCHED,
};

/** Throws `invalid_argument` for a stage that is none. */
export function fromWire(wire: RelayCaStage): RotationStage {
  const found = (Object.keys(STAGES) as RotationStage[]).find((stage) => STAGES[stage] === wire);
  if (found) return found;
  throw new MeshError("invalid_argument", `relay ca stage ${wire}: want one that the rotation can stand at`);
}

/** How the relay's CA stands, for people. */
export function relayCa(rotation: RelayCaRotation, sources: Pick<AdminSources, "session">): RelayCa {
  return {
    stage: STAGES[rotation.stage],
    roots: rotation.ca.roots.map((root, index) => ({
      pin: pinOf(root),
      notAfter: new Date(certificateFacts(root).notAfterMs),
      signs: index === 0,
    })),
    lagging: rotation.lagging().map(({ name, current, next }): LaggingCluster => {
      const { notAfterMs } = current ?? next ?? {};
      return {
        cluster: name,
        connected: sources.session(name)?.connected ?? false,
        certificateNotAfter: notAfterMs === undefined ? undefined : new Date(notAfterMs),
      };
    }),
  };
}
