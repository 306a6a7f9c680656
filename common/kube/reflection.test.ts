import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MeshError } from "../runtime/errors.ts";
import { isExpired } from "./errors.ts";
import { type Keep, listPage, Reflection } from "./reflection.ts";

const TYPE = { apiVersion: "discovery.mesh.gloo.solo.io/v1", kind: "Mesh", plural: "meshes" };

type Event = readonly [type: string, object: { metadata: { name: string; resourceVersion: string } }];

/** A collection with its history, as an API server keeps it. */
class Collection {
  readonly objects = new Map<string, Event[1]>();
  readonly history: Event[] = [];

  get version(): number {
    return this.history.length;
  }

  change(name: string, isDeletion: boolean): void {
    const metadata = { name, namespace: "n", resourceVersion: String(this.version + 1) };
    const exists = this.objects.has(name);
    if (isDeletion && !exists) return;
    this.history.push([isDeletion ? "DELETED" : exists ? "MODIFIED" : "ADDED", { metadata }]);
    if (isDeletion) this.objects.delete(name);
    else this.objects.set(name, { metadata });
  }

  /** Names and versions as they were at a version. */
  at(version: number): Record<string, string> {
    const state: Record<string, string> = {};
    for (const [type, { metadata }] of this.history.slice(0, version)) {
      if (type === "DELETED") Reflect.deleteProperty(state, metadata.name);
      else state[metadata.name] = metadata.resourceVersion;
    }
    return state;
  }
}

const name = fc.constantFrom("a", "b", "c", "d");
const step = fc.oneof(
  fc.record({ do: fc.constant("change" as const), name, isDeletion: fc.boolean() }),
  fc.record({ do: fc.constantFrom("deliver" as const, "repeat" as const), count: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ do: fc.constantFrom("bookmark" as const, "expired" as const) }),
);

/** What a reflector does: list when it must, else take the next events. */
function follow(reflection: Reflection, collection: Collection, count: number): void {
  if (reflection.resourceVersion === undefined) {
    reflection.list(reflection.read([...collection.objects.values()]), String(collection.version));
    return;
  }
  const from = Number(reflection.resourceVersion);
  for (const [type, object] of collection.history.slice(from, from + count)) reflection.event(type, object);
}

const seen = (reflection: Reflection): Record<string, string | undefined> =>
  Object.fromEntries(
    [...reflection.snapshot().values()].map(({ metadata }) => [metadata.name, metadata.resourceVersion]),
  );

test("reflection - after any history of changes, cuts, repeats and expiries the copy is the collection", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const collection = new Collection();
      const reflection = new Reflection(TYPE);
      for (const each of steps) {
        const version = reflection.resourceVersion;
        if (each.do === "change") collection.change(each.name, each.isDeletion);
        else if (each.do === "deliver") follow(reflection, collection, each.count);
        else if (version === undefined) continue;
        else if (each.do === "bookmark") {
          follow(reflection, collection, Infinity);
          reflection.event("BOOKMARK", { metadata: { resourceVersion: String(collection.version) } });
        } else if (each.do === "repeat") {
          // A stream that begins a little too early ends where it ended.
          const from = Math.max(0, Number(version) - each.count);
          for (const event of collection.history.slice(from, Number(version))) reflection.event(...event);
        } else
          assert.throws(() => reflection.event("ERROR", { kind: "Status", code: 410, message: "too old" }), MeshError);
        if (reflection.resourceVersion !== undefined) {
          assert.deepEqual(seen(reflection), collection.at(Number(reflection.resourceVersion)));
        }
      }
      follow(reflection, collection, Infinity);
      follow(reflection, collection, Infinity);
      assert.deepEqual(seen(reflection), collection.at(collection.version));
    }),
  );
});

test("reflection - what is no event ends the watch with its reason and asks for a list, and the copy stays", () => {
  const object = { metadata: { name: "a", namespace: "n", resourceVersion: "1", managedFields: [{}] }, spec: 1 };
  const cases: readonly [string, unknown, (error: MeshError) => boolean][] = [
    ["ERROR", { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" }, isExpired],
    [
      "ERROR",
      { kind: "Status", code: 500, message: "etcd is away" },
      (e) => e.code === "unavailable" && /etcd/.test(e.message),
    ],
    ["SURPRISE", object, ({ message }) => /event of type SURPRISE/.test(message)],
    ["ADDED", { spec: {} }, ({ message }) => /without a name/.test(message)],
    ["ADDED", null, ({ message }) => /without a name/.test(message)],
  ];
  for (const [type, value, fits] of cases) {
    const reflection = new Reflection(TYPE);
    reflection.list(reflection.read([object]), "5");
    assert.throws(
      () => reflection.event(type, value),
      (error: MeshError) => fits(error),
    );
    assert.equal(reflection.resourceVersion, undefined);
    assert.deepEqual(reflection.snapshot().get("n/a"), {
      apiVersion: TYPE.apiVersion,
      kind: "Mesh",
      metadata: { name: "a", namespace: "n", resourceVersion: "1" },
      spec: 1,
    });
  }
});

test("reflection - of each object only what its reader keeps is stored, and what he drops leaves the copy", () => {
  const seenTimes: unknown[] = [];
  const keep: Keep = ({ apiVersion, kind, metadata }) => {
    const { name, namespace, resourceVersion, labels, managedFields } = metadata;
    seenTimes.push(managedFields?.[0]?.time);
    if (labels?.["read"] !== "yes") return undefined;
    return { apiVersion, kind, metadata: { name, namespace: namespace!, resourceVersion: resourceVersion! } };
  };
  const object = (version: string, read: string) => ({
    metadata: { name: "a", namespace: "n", resourceVersion: version, labels: { read }, managedFields: [{ time: "t" }] },
    spec: "long",
  });
  const reflection = new Reflection(TYPE, keep);
  reflection.list(reflection.read([object("1", "yes"), { metadata: { name: "b", namespace: "n" } }]), "1");
  const metadata = { name: "a", namespace: "n", resourceVersion: "1" };
  const kept = { apiVersion: TYPE.apiVersion, kind: "Mesh", metadata };
  assert.deepEqual([...reflection.snapshot()], [["n/a", kept]]);
  assert.deepEqual(seenTimes, ["t", undefined]);
  assert.equal(reflection.event("MODIFIED", object("2", "no")), true);
  assert.equal(reflection.snapshot().size, 0);
  assert.equal(reflection.event("MODIFIED", object("3", "no")), false);
  assert.equal(reflection.resourceVersion, "3");
  assert.equal(reflection.event("MODIFIED", object("4", "yes")), true);
  assert.equal(reflection.snapshot().size, 1);
});

test("reflection - an answer that is no list is refused, and an empty one is a list", () => {
  assert.throws(() => listPage({ kind: "Status" }), { code: "unavailable" });
  assert.deepEqual(listPage({ items: null, metadata: { resourceVersion: "3", continue: "" } }), {
    items: [],
    resourceVersion: "3",
    continueToken: undefined,
  });
});
