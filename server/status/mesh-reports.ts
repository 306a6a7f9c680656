import type { Mesh } from "../../common/api/discovery.ts";
import { nameOf, refKey } from "../../common/api/meta.ts";
import { clusterOf } from "../intent/mesh-checks.ts";
import type { AcceptedIntent } from "../intent/verdict.ts";
import { resourceOf } from "../translate/wire.ts";
import { type ClusterKnowledge, meshFacts, reportOf } from "./facts.ts";
import type { CertificateReport } from "./report.ts";

export interface MeshReportsOptions {
  readonly clusters: ClusterKnowledge;
  /** The server's own namespace. */
  readonly namespace: string;
}

/** A report with all that it was made of. */
interface Known {
  readonly mesh: Mesh;
  readonly intent: AcceptedIntent;
  readonly connected: boolean;
  readonly revoked: boolean;
  readonly report: CertificateReport;
}

/** The reports that Meshes hold. The same Mesh under the same intent gives the same object, so that nothing is made twice. */
export class MeshReports {
  readonly #options: MeshReportsOptions;
  readonly #facts: ReturnType<typeof meshFacts>;
  readonly #known = new Map<string, Known>();

  constructor(options: MeshReportsOptions) {
    this.#options = options;
    this.#facts = meshFacts(options.clusters);
  }

  /** What is known of the mesh's certificate, with `intent` in force for it. */
  of(mesh: Mesh, intent: AcceptedIntent): CertificateReport {
    const { clusters, namespace } = this.#options;
    const key = refKey(nameOf(mesh));
    const cluster = clusterOf(mesh);
    const [connected, revoked] = [clusters.isConnected(cluster), clusters.isRevoked(cluster)];
    const known = this.#known.get(key);
    const isSame = known?.mesh === mesh && known.intent === intent;
    if (isSame && known.connected === connected && known.revoked === revoked) return known.report;
    const wanted = resourceOf(intent, mesh, namespace)?.version;
    const report = reportOf(mesh, wanted, this.#facts(mesh, wanted));
    this.#known.set(key, { mesh, intent, connected, revoked, report });
    return report;
  }

  /** Forgets the Meshes that are not among these, by `refKey`. */
  keepOnly(keys: { has(key: string): boolean }): void {
    for (const key of this.#known.keys()) if (!keys.has(key)) this.#known.delete(key);
  }
}
