import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { AdminServiceService, ListSessionsRequest, type ListSessionsResponse } from "../../proto/gen/admin/v1/admin.ts";
import { IstiodServiceService, type LinkRequest, type LinkResponse } from "../../proto/gen/istiod/v1/istiod.ts";
import { MeshError } from "../runtime/errors.ts";
import { Dialer } from "./client.ts";
import { bidi, serverStream, unary } from "./handlers.ts";
import { methodTable, startGrpcServer, type GrpcServer } from "./server.ts";
import { MAX_MESSAGE_BYTES } from "./grpc.ts";

const empty: ListSessionsResponse = { sessions: [] };

interface Handlers {
  readonly list?: () => Promise<ListSessionsResponse>;
  readonly link?: (requests: AsyncIterable<LinkRequest>, signal: AbortSignal) => Promise<void>;
  readonly allowed?: Parameters<typeof methodTable>[0];
}

async function serve({ list = async () => empty, link, allowed }: Handlers): Promise<GrpcServer> {
  const everything = { "/admin.v1.AdminService/*": () => "anybody", "/istiod.v1.IstiodService/*": () => "anybody" };
  return startGrpcServer({
    listen: "127.0.0.1:0",
    authorize: methodTable(allowed ?? everything),
    services: [
      {
        definition: AdminServiceService,
        implementation: {
          listSessions: unary(list),
          getIntent: unary(list),
          watchStatus: serverStream(async () => undefined),
        },
      },
      {
        definition: IstiodServiceService,
        implementation: {
          link: bidi<LinkRequest, LinkResponse, unknown>(async (requests, send, { signal }) => {
            await send({ message: { $case: "noOrder", value: { reason: "none" } } });
            await link?.(requests, signal);
          }),
          getOrder: unary(list),
          listReplicas: unary(list),
        },
      },
    ],
  });
}

const dial = ({ address }: GrpcServer): Dialer => new Dialer({ address, peer: "test server" });

const call = () => ({ signal: new AbortController().signal, timeoutMs: 10_000 });

const listSessions = (dialer: Dialer) =>
  dialer.unary(AdminServiceService.listSessions, ListSessionsRequest.create(), call());

test("session - an error crosses the wire with code, message, hint and retry time, and without its cause", async () => {
  const cause = new Error("secret detail");
  const server = await serve({
    list: () =>
      Promise.reject(new MeshError("resource_exhausted", "too many", { hint: "wait", retryAfterMs: 1500, cause })),
  });
  const dialer = dial(server);
  await assert.rejects(listSessions(dialer), (error: MeshError) => {
    assert.deepEqual(
      [error.code, error.message, error.hint, error.retryAfterMs],
      ["resource_exhausted", "test server: too many", "wait", 1500],
    );
    return true;
  });
  dialer.close();
  await server.close(100);
});

test("session - an unexpected fault tells the peer nothing, and the server lives on", async () => {
  let failing = true;
  const server = await serve({
    list: async () => {
      if (failing) throw new TypeError("cannot read secret of undefined");
      return empty;
    },
  });
  const dialer = dial(server);
  await assert.rejects(
    listSessions(dialer),
    (error: MeshError) => error.code === "internal" && !error.message.includes("secret"),
  );
  failing = false;
  assert.deepEqual(await listSessions(dialer), empty);
  dialer.close();
  await server.close(100);
});

test("session - a method that is not in the table does not exist, and its handler is never reached", async () => {
  let reached = false;
  const server = await serve({
    allowed: { "/istiod.v1.IstiodService/ListReplicas": () => undefined },
    list: async () => {
      reached = true;
      return empty;
    },
  });
  const dialer = dial(server);
  await assert.rejects(listSessions(dialer), { code: "unimplemented" });
  assert.equal(reached, false);
  dialer.close();
  await server.close(100);
});

test("session - a rule that throws keeps the caller out", async () => {
  const refuse = (): never => {
    throw new MeshError("permission_denied", "not you");
  };
  const server = await serve({ allowed: { "/admin.v1.AdminService/*": refuse } });
  const dialer = dial(server);
  await assert.rejects(listSessions(dialer), { code: "permission_denied" });
  dialer.close();
  await server.close(100);
});

test("session - a client that leaves aborts the handler's signal; a handler that throws ends the stream with its status", async () => {
  const aborted = Promise.withResolvers<undefined>();
  let fail = false;
  const server = await serve({
    link: async (_, signal) => {
      if (fail) throw new MeshError("failed_precondition", "no");
      await once(signal, "abort");
      aborted.resolve(undefined);
    },
  });
  const dialer = dial(server);
  const leave = new AbortController();
  const stream = dialer.bidi(IstiodServiceService.link, leave.signal);
  const messages = stream.messages();
  assert.equal((await messages.next()).done, false);
  leave.abort();
  await aborted.promise;

  fail = true;
  const second = dialer.bidi(IstiodServiceService.link, new AbortController().signal).messages();
  await second.next();
  await assert.rejects(second.next(), { code: "failed_precondition" });
  dialer.close();
  await server.close(100);
});

test("session - a message above the limit is refused, and the server goes on", async () => {
  const server = await serve({
    link: async (requests) => {
      for await (const _ of requests) return;
    },
  });
  const dialer = dial(server);
  const stream = dialer.bidi(IstiodServiceService.link, new AbortController().signal);
  stream.write({ message: { $case: "hello", value: { mode: 1, version: "x".repeat(MAX_MESSAGE_BYTES) } } });
  const messages = stream.messages();
  await messages.next();
  await assert.rejects(messages.next(), { code: "resource_exhausted" });
  assert.deepEqual(await listSessions(dialer), empty);
  dialer.close();
  await server.close(100);
});

test("session - a stream is given up when no connection stands in time, and lives as long as it likes after that", async () => {
  const taken = new Set<Socket>();
  const silent = createServer((socket) => void taken.add(socket)).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const nowhere = new Dialer({ address: `127.0.0.1:${port}`, peer: "test server", connectTimeoutMs: 100 });
  const stream = nowhere.bidi(IstiodServiceService.link, new AbortController().signal);
  await assert.rejects(stream.messages().next(), {
    code: "unavailable",
    message: "test server: no connection within 100 ms",
  });
  nowhere.close();
  for (const socket of taken) socket.destroy();
  silent.close();

  const server = await serve({ link: (_, signal) => once(signal, "abort").then(() => undefined) });
  const dialer = new Dialer({ address: server.address, peer: "test server", connectTimeoutMs: 100 });
  const leave = new AbortController();
  const messages = dialer.bidi(IstiodServiceService.link, leave.signal).messages();
  assert.equal((await messages.next()).done, false);
  const next = messages.next();
  const first = await Promise.race([next.catch(() => "ended"), delay(300, "lives")]);
  assert.equal(first, "lives");
  leave.abort();
  await assert.rejects(next);
  dialer.close();
  await server.close(100);
});

/** Grpc-js has its own timers: they are moved by hand here. */
test("session - a dial that failed and was closed does not go on dialling", async (t) => {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  await new Promise((resolve) => listener.close(resolve));
  let dials = 0;
  const count = (): void => void (dials += 1);
  subscribe("net.client.socket", count);
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  try {
    for (let attempt = 0; attempt < 5; attempt++) {
      const dialer = new Dialer({ address: `127.0.0.1:${port}`, peer: "agent" });
      const stream = dialer.bidi(IstiodServiceService.link, new AbortController().signal);
      await assert.rejects(stream.messages().next(), { code: "unavailable" });
      dialer.close();
    }
    for (let second = 0; second < 60; second++) {
      t.mock.timers.tick(1_000);
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    // A subchannel that waits for its second attempt makes that one, closed or not.
    assert.ok(dials >= 5 && dials <= 10, `${dials} dials`);
  } finally {
    unsubscribe("net.client.socket", count);
  }
});

test("session - a taken port is said so, with a hint", async () => {
  const server = await serve({});
  await assert.rejects(
    startGrpcServer({ listen: server.address, authorize: () => undefined, services: [] }),
    (error: MeshError) => error.code === "port_in_use" && (error.hint ?? "").includes("another address"),
  );
  await server.close(100);
});

test("session - no text of an error, however long or broken, ends the server", async () => {
  const texts = ["\ud83d", `${"x".repeat(1022)}\u{1f600}`, "y".repeat(1_000_000), "a\r\nb: c", "\u0000\u001b[2J"];
  let next = 0;
  const server = await serve({
    list: () => {
      const text = texts[next++] ?? "";
      return Promise.reject(new MeshError("invalid_argument", text, { hint: text, retryAfterMs: 1e15 }));
    },
  });
  const dialer = dial(server);
  for (const text of texts) {
    await assert.rejects(listSessions(dialer), (error: MeshError) => {
      assert.deepEqual([error.code, error.retryAfterMs], ["invalid_argument", 600_000], JSON.stringify(text));
      return error.message.length < 1_100 && (error.hint ?? "").length <= 1_024;
    });
  }
  dialer.close();
  await server.close(100);
});

test("session - a socket is of mode 0600 whatever the mask, replaces a dead one and never another file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mesh-relay-"));
  const path = join(folder, "admin.sock");
  const mask = process.umask(0);
  try {
    const open = () => startGrpcServer({ listen: `unix:${path}`, authorize: () => undefined, services: [] });
    await writeFile(path, "precious");
    await assert.rejects(open(), { code: "conflict", message: /no socket is there/ });
    assert.equal(await readFile(path, "utf8"), "precious");
    await rm(path);
    const dead = createServer().listen(join(folder, "dead"));
    await once(dead, "listening");
    await rename(join(folder, "dead"), path);
    dead.close();
    const server = await open();
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(folder), ["admin.sock"]);
    await server.close(100);
    assert.deepEqual(await readdir(folder), []);
  } finally {
    process.umask(mask);
    await rm(folder, { recursive: true });
  }
});
