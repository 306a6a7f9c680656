import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../runtime/clock.ts";
import { silentLog } from "../runtime/log.ts";
import { KubeClient } from "./client.ts";
import { Reflector, type ReflectorOptions } from "./reflector.ts";

const TYPE = { apiVersion: "discovery.mesh.gloo.solo.io/v1", kind: "Mesh", plural: "meshes" };
const PATH = "/apis/discovery.mesh.gloo.solo.io/v1/namespaces/gloo-mesh/meshes";

type Answer = (response: ServerResponse) => void;

/** Answers each request with the next of its answers, the last one again and again. */
async function startFake(lists: Answer[], watches: Answer[]) {
  const requests: URL[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "", "http://fake");
    requests.push(url);
    const answers = url.searchParams.get("watch") === "true" ? watches : lists;
    (answers.length > 1 ? answers.shift() : answers[0])?.(response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const folder = await mkdtemp(join(tmpdir(), "kube-"));
  const file = join(folder, "kubeconfig");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cluster = { server: url, "insecure-skip-tls-verify": true };
  const config = {
    clusters: [{ name: "c", cluster }],
    users: [{ name: "u", user: { token: "s3cret" } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  await writeFile(file, JSON.stringify(config));
  const client = KubeClient.open(file);
  const stop = new AbortController();
  let running = Promise.resolve();
  return {
    requests,
    watching: () => requests.filter((each) => each.searchParams.has("watch")),
    follow(options: Partial<ReflectorOptions> = {}): Reflector {
      const common = { clock: systemClock, random: () => 0, log: silentLog, namespace: "gloo-mesh" };
      const reflector = new Reflector({ client, type: TYPE, ...common, ...options });
      running = reflector.run(stop.signal);
      return reflector;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      client.close();
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true });
    },
  };
}

const mesh = (name: string, version: number) => ({
  metadata: { name, namespace: "gloo-mesh", resourceVersion: String(version) },
});

const json =
  (status: number, body: object): Answer =>
  (response) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));

const list = (version: number, names: readonly string[], next = ""): Answer =>
  json(200, {
    items: names.map((name) => mesh(name, 1)),
    metadata: { resourceVersion: String(version), continue: next },
  });

const refuse = (code: number): Answer => json(code, { kind: "Status", code, message: `no, ${code}` });

/** Sends lines, and leaves the stream open. */
const stream =
  (...events: readonly [type: string, object: object][]): Answer =>
  (response) =>
    void response
      .writeHead(200)
      .write(events.map(([type, object]) => `${JSON.stringify({ type, object })}\n`).join("") || "\n");

const cut: Answer = (response) => response.destroy();

async function until(reflector: Reflector, names: readonly string[]): Promise<void> {
  const keys = names.map((name) => `gloo-mesh/${name}`).join();
  await reflector.objects.until((objects) => [...objects.keys()].join() === keys, AbortSignal.timeout(30_000));
}

test("reflector - lists page by page, is synced only when all are there, and watches from the list's version", async () => {
  await using fake = await startFake([list(7, ["a"], "page-2"), list(7, ["b"])], [stream(["ADDED", mesh("c", 8)])]);
  const reflector = fake.follow({ pageSize: 1 });
  const first = await reflector.objects.until(() => true, AbortSignal.timeout(30_000));
  assert.deepEqual([...first.keys()], ["gloo-mesh/a", "gloo-mesh/b"]);
  await until(reflector, ["a", "b", "c"]);
  const [one, two, watch] = fake.requests;
  assert.deepEqual([one?.pathname, one?.search, two?.search], [PATH, "?limit=1", "?limit=1&continue=page-2"]);
  assert.equal(watch?.searchParams.get("resourceVersion"), "7");
  assert.equal(watch.searchParams.get("allowWatchBookmarks"), "true");
  assert.ok(Number(watch.searchParams.get("timeoutSeconds")) >= 300);
});

test("reflector - a field selector goes with the list and with the watch", async () => {
  await using fake = await startFake([list(7, ["a"])], [stream(["ADDED", mesh("b", 8)])]);
  await until(fake.follow({ fieldSelector: "metadata.name=a" }), ["a", "b"]);
  const selectors = fake.requests.map(({ searchParams }) => searchParams.get("fieldSelector"));
  assert.deepEqual(selectors.slice(0, 2), ["metadata.name=a", "metadata.name=a"]);
});

test("reflector - a page that expired is followed by one list without pages", async () => {
  await using fake = await startFake([list(7, ["a"], "old"), refuse(410), list(9, ["a", "b"])], [stream()]);
  await until(fake.follow({ pageSize: 1 }), ["a", "b"]);
  assert.equal(fake.requests[2]?.search, "?limit=0");
});

test("reflector - a storm of 500s and cut connections is waited out, and its copy stays meanwhile", async () => {
  const storm = [refuse(500), cut, refuse(503), refuse(429)];
  const lists = [...storm, list(7, ["a"]), ...storm, list(9, ["a", "b"])];
  await using fake = await startFake(lists, [refuse(500), cut, stream()]);
  const reflector = fake.follow();
  const seen: string[] = [];
  await reflector.objects.until((objects) => seen.push([...objects.keys()].join()) === 2, AbortSignal.timeout(30_000));
  assert.deepEqual(seen, ["gloo-mesh/a", "gloo-mesh/a,gloo-mesh/b"]);
});

test("reflector - what was deleted while its history was lost is gone after the next list", async () => {
  const gone = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
  for (const expired of [stream(["ERROR", gone]), refuse(410)]) {
    await using fake = await startFake([list(7, ["a", "b"]), list(20, ["b"])], [expired, stream()]);
    const reflector = fake.follow();
    await until(reflector, ["b"]);
    await reflector.fault.until((fault) => fault === null, AbortSignal.timeout(30_000));
  }
});

test("reflector - a watch that was cut in the middle of a line is taken up after the last whole event", async () => {
  const half: Answer = (response) => {
    const line = JSON.stringify({ type: "ADDED", object: mesh("b", 8) });
    const bookmark = JSON.stringify({ type: "BOOKMARK", object: { metadata: { resourceVersion: "9" } } });
    response.writeHead(200).write(`${line}\n${bookmark}\n${line.slice(0, 20)}`, () => response.destroy());
  };
  await using fake = await startFake([list(7, ["a"])], [half, stream(["DELETED", mesh("a", 10)])]);
  await until(fake.follow(), ["b"]);
  assert.deepEqual(
    fake.watching().map((url) => url.searchParams.get("resourceVersion")),
    ["7", "9"],
  );
});

test("reflector - a connection that fell silent is given up, and one that never answers as well", async () => {
  const silent: Answer = () => undefined;
  const answers = [stream(), silent, stream(["ADDED", mesh("b", 8)])];
  await using fake = await startFake([list(7, ["a"])], answers);
  const reflector = fake.follow({ idleMs: 100 });
  const fault = await reflector.fault.until((each) => each !== null, AbortSignal.timeout(30_000));
  assert.equal(fault?.code, "deadline_exceeded");
  await until(reflector, ["a", "b"]);
});

test("reflector - a watch on which nothing happens for long is opened anew without an alarm", async () => {
  const answers = [stream(), stream(), stream(["ADDED", mesh("b", 8)])];
  await using fake = await startFake([list(7, ["a"])], answers);
  const reflector = fake.follow({ idleMs: 100 });
  const faults: unknown[] = [];
  const stop = new AbortController();
  const watching = (async () => {
    for await (const fault of reflector.fault.watch(stop.signal)) if (fault) faults.push(fault);
  })();
  await until(reflector, ["a", "b"]);
  stop.abort();
  await watching;
  assert.deepEqual(faults, []);
});

test("reflector - an abort ends it at once, also while nothing answers", async () => {
  const startMs = performance.now();
  for (const answer of [stream(), () => undefined]) {
    const asked = Promise.withResolvers<undefined>();
    const watch: Answer = (response) => {
      asked.resolve(undefined);
      answer(response);
    };
    await using fake = await startFake([list(7, ["a"])], [watch]);
    fake.follow();
    await asked.promise;
  }
  assert.ok(performance.now() - startMs < 30_000);
});

test("reflector - no error tells the token", async () => {
  await using fake = await startFake([refuse(403)], [cut]);
  const reflector = fake.follow();
  const fault = await reflector.fault.until((each) => each !== null, AbortSignal.timeout(30_000));
  assert.equal(fault?.code, "permission_denied");
  assert.equal(fault.message, "api server refused to list meshes: no, 403 (403)");
  assert.ok(!JSON.stringify([fault, fault.cause, fault.stack]).includes("s3cret"));
});
