import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, createServer as createHttpServer } from "node:http";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { MeshError } from "./errors.ts";
import { exchange, type HttpExchange } from "./http.ts";

const tooLong = (): MeshError => new MeshError("internal", "too long");

const get = (port: number, options: HttpExchange["options"], connectTimeoutMs: number) =>
  exchange({ options: { host: "127.0.0.1", port, ...options }, maxBytes: 1_000, tooLong, connectTimeoutMs });

test("http - a connection that does not stand in time is given up", async () => {
  const taken = new Set<Socket>();
  const silent = createServer((socket) => void taken.add(socket)).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  await assert.rejects(get(port, { protocol: "https:" }, 100), {
    code: "ETIMEDOUT",
    message: "no connection within 100 ms",
  });
  for (const socket of taken) socket.destroy();
  silent.close();
});

test("http - an answer may take longer than a connection, over a new one and over one that was kept", async () => {
  const server = createHttpServer((_, response) => void delay(150).then(() => response.end("slow"))).listen(
    0,
    "127.0.0.1",
  );
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const agent = new Agent({ keepAlive: true });
  for (const _ of ["new", "kept"]) {
    const { text } = await get(port, { protocol: "http:", agent }, 50);
    assert.equal(text, "slow");
  }
  agent.destroy();
  server.close();
});
