import { isDeepStrictEqual } from "node:util";
import { findDefinition } from "../../common/api/schema.ts";
import { apply } from "../../common/kube/apply.ts";
import type { KubeClient } from "../../common/kube/client.ts";
import type { ResourceType } from "../../common/kube/resource-type.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import type { Cause, Directive } from "./decide.ts";
import { type BouncedPods, type BounceReport, directiveSpec, directiveStatus, readDirective } from "./directive.ts";
import type { PlannedGroup } from "./plan.ts";

/** Name of a directive. */
export interface DirectiveName {
  readonly namespace: string;
  readonly name: string;
}

/** Where directives are kept. */
export interface DirectiveStore {
  /** Records what is to be restarted and why; makes the directive where there is none. Returns it as stored. */
  writeSpec(
    name: DirectiveName,
    cause: Cause,
    groups: readonly PlannedGroup[],
    signal: AbortSignal,
  ): Promise<Directive>;
  /** Throws `not_found` for a directive that is not there. Writes nothing where the status says so already. */
  writeStatus(directive: Directive, report: BounceReport, bounced: BouncedPods, signal: AbortSignal): Promise<void>;
}

const FIELD_MANAGER = "enterprise-agent";

/** The type of PodBounceDirectives. */
export const DIRECTIVES: ResourceType = definition();

/** Directives as objects of the API server. */
export class KubeDirectiveStore implements DirectiveStore {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  /** What was written last, by "namespace/name". */
  readonly #written = new Map<string, object>();

  constructor(client: KubeClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  async writeSpec(name: DirectiveName, cause: Cause, groups: readonly PlannedGroup[], signal: AbortSignal) {
    const fields = { spec: directiveSpec(name, cause, groups) };
    const application = { type: DIRECTIVES, metadata: { ...name }, fields, fieldManager: FIELD_MANAGER, force: true };
    return readDirective(await apply(this.#client, application, signal));
  }

  async writeStatus(directive: Directive, report: BounceReport, bounced: BouncedPods, signal: AbortSignal) {
    const { namespace, name, generation } = directive;
    const key = `${namespace}/${name}`;
    const said = { generation, report, bounced: bounced.of(directive.spec.podsToBounce ?? []) };
    if (isDeepStrictEqual(this.#written.get(key), said)) return;
    const status = directiveStatus(directive, report, bounced, this.#clock.now());
    const application = { type: DIRECTIVES, metadata: { namespace, name }, fields: { status }, force: true };
    const options = { ...application, subresource: "status", fieldManager: FIELD_MANAGER } as const;
    this.#written.delete(key);
    await apply(this.#client, options, signal);
    this.#written.set(key, said);
  }
}

function definition(): ResourceType {
  const found = findDefinition("certificates.mesh.gloo.solo.io/v1", "PodBounceDirective");
  if (!found) throw new MeshError("internal", "the crd of PodBounceDirective is missing");
  return found;
}
