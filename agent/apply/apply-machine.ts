import {
  ResourceOutcome,
  type Push,
  type Resource,
  type ResourceResult,
  type Result,
} from "../../proto/gen/relay/v1/relay.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { digestOf, keyOf, versionOf, wireResource, type WireResource } from "../../common/session/resource-set.ts";

/** A resource that stays in force although the intent no longer holds it. */
export interface Detached {
  readonly resource: WireResource;
  /** True: removed on purpose, and let go when nobody uses it. False: absent from a whole set, kept until decided. */
  readonly removed: boolean;
}

/** What the agent holds of one type. */
export interface Held {
  /** By key; the digest speaks of these. */
  readonly managed: ReadonlyMap<string, WireResource>;
  /** By key; in force, outside of the digest. */
  readonly detached: ReadonlyMap<string, Detached>;
}

export const NOTHING_HELD: Held = { managed: new Map(), detached: new Map() };

/** Looks into a resource before it is stored; throws a MeshError that says why it cannot be. */
export type Validate = (resource: WireResource) => void;

export interface Applied {
  readonly result: Result;
  /** What to store before the result is sent; undefined when nothing changes. */
  readonly next?: Held;
}

/** Decides what a push does to what is held. Pure: the caller stores `next`, then sends `result`. */
export function applyPush(held: Held, push: Push, validate: Validate): Applied {
  const whole = push.base.length === 0;
  if (!whole && Buffer.compare(push.base, heldDigest(held)) !== 0) return { result: wantWholeSet(held, push) };
  const upserts = push.upserts.map(toWire);
  if (Buffer.compare(push.digest, digestAfter(held, push, upserts)) !== 0) return { result: wantWholeSet(held, push) };

  const managed = new Map(whole ? [] : held.managed);
  const detached = new Map(held.detached);
  const results = upserts.map((resource) => store(resource, { managed, before: held.managed, detached }, validate));
  for (const name of push.removals) {
    const key = keyOf(name);
    const resource = held.managed.get(key) ?? held.detached.get(key)?.resource;
    managed.delete(key);
    if (resource) detached.set(key, { resource, removed: true });
    results.push(outcome({ name }, ResourceOutcome.RESOURCE_OUTCOME_APPLIED));
  }
  for (const [key, resource] of held.managed) {
    if (!managed.has(key) && !detached.has(key)) detached.set(key, { resource, removed: false });
  }
  const next = { managed, detached };
  const { type, id } = push;
  return { next, result: { type, id, held: heldDigest(next), wantWholeSet: false, results } };
}

/** Lets go of what was removed on purpose and is not used any more; undefined when nothing changes. */
export function releaseUnused(held: Held, isUsed: (key: string) => boolean): Held | undefined {
  const kept = [...held.detached].filter(([key, { removed }]) => !removed || isUsed(key));
  return kept.length === held.detached.size ? undefined : { managed: held.managed, detached: new Map(kept) };
}

export function heldDigest({ managed }: Held): Buffer {
  return digestOf(new Map([...managed].map(([key, { version }]) => [key, version])));
}

interface Stores {
  readonly managed: Map<string, WireResource>;
  readonly before: ReadonlyMap<string, WireResource>;
  readonly detached: Map<string, Detached>;
}

function store(resource: WireResource, { managed, before, detached }: Stores, validate: Validate): ResourceResult {
  const key = keyOf(resource.name);
  try {
    validate(resource);
  } catch (thrown) {
    // The version before it stays in force.
    const previous = before.get(key);
    if (previous) managed.set(key, previous);
    return refusal(resource, MeshError.from(thrown), previous);
  }
  managed.set(key, resource);
  detached.delete(key);
  return outcome(resource, ResourceOutcome.RESOURCE_OUTCOME_APPLIED, resource.version);
}

function refusal(resource: WireResource, error: MeshError, previous: WireResource | undefined): ResourceResult {
  return {
    ...outcome(resource, ResourceOutcome.RESOURCE_OUTCOME_REJECTED, previous?.version),
    code: error.code,
    message: error.message,
    retriable: error.retriable,
  };
}

function outcome(
  { name }: Pick<WireResource, "name">,
  result: ResourceResult["outcome"],
  version = "",
): ResourceResult {
  return { name, outcome: result, code: "", message: "", retriable: false, heldVersion: Buffer.from(version, "hex") };
}

function wantWholeSet(held: Held, { type, id }: Push): Result {
  return { type, id, held: heldDigest(held), wantWholeSet: true, results: [] };
}

function digestAfter(held: Held, push: Push, upserts: readonly WireResource[]): Buffer {
  const versions = new Map(push.base.length === 0 ? [] : [...held.managed].map(([key, { version }]) => [key, version]));
  for (const { name, version } of upserts) versions.set(keyOf(name), version);
  for (const name of push.removals) versions.delete(keyOf(name));
  return digestOf(versions);
}

function toWire({ name, content }: Resource): WireResource {
  if (!name) return { name: { namespace: "", name: "" }, content, version: versionOf(content) };
  return wireResource(name, content);
}
