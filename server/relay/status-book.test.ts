import assert from "node:assert/strict";
import { test } from "node:test";
import { IssuedCertificateStatus } from "../../proto/gen/certificates/v1/certificates.ts";
import { StatusBook } from "./status-book.ts";

const statusOf = (name: string, replicas = 1, evidence = "") =>
  IssuedCertificateStatus.fromPartial({
    name: { namespace: "gloo-mesh", name },
    replicas: Array.from({ length: replicas }, (_, index) => ({ podUid: `${index}`, evidence })),
  });

const namesIn = (book: StatusBook, cluster: string) => book.get(cluster).map(({ name }) => name?.name);

test("status book - keeps the newest of each, until it is removed or a whole report leaves it out", () => {
  const book = new StatusBook();
  book.take("one", { certificates: [statusOf("a"), statusOf("b")], removals: [], whole: true });
  book.take("one", {
    certificates: [statusOf("a", 2)],
    removals: [{ namespace: "gloo-mesh", name: "b" }],
    whole: false,
  });
  assert.deepEqual(
    book.get("one").map(({ name, replicas }) => [name?.name, replicas.length]),
    [["a", 2]],
  );
  book.take("one", { certificates: [statusOf("c")], removals: [], whole: true });
  assert.deepEqual(namesIn(book, "one"), ["c"]);
});

test("status book - one cluster cannot fill it, and what fits is kept", () => {
  const book = new StatusBook();
  const big = (name: string) => statusOf(name, 100, "x".repeat(1000));
  for (let round = 0; round < 20; round++) {
    book.take("evil", { certificates: [big(`big-${round}`), statusOf("small")], removals: [], whole: false });
  }
  assert.deepEqual(namesIn(book, "evil").sort(), ["big-0", "big-1", "small"]);
  book.take("evil", { certificates: [statusOf("small", 3, "x".repeat(100_000))], removals: [], whole: true });
  assert.deepEqual(
    book.get("evil").flatMap(({ replicas }) => replicas.map(({ evidence }) => evidence.length)),
    [1024, 1024, 1024],
  );
});
