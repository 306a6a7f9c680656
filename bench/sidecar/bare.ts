/** A program of the same libraries as istiod-agent that does nothing but listen: what they cost by themselves. */
import "reflect-metadata";
import { createServer } from "node:http";
import { Client } from "@grpc/grpc-js";
import { X509Certificate } from "@peculiar/x509";
import { Command } from "commander";
import vault from "node-vault";
import { pino } from "pino";
import { collectDefaultMetrics, Registry } from "prom-client";
import { parseDocument } from "yaml";
import * as z from "zod";

const registry = new Registry();
collectDefaultMetrics({ register: registry });
const log = pino(process.stderr);
const server = createServer((_request, response) => response.writeHead(200).end("ok\n"));
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  // Named, so that the bundler keeps each of them.
  const libraries = [Client, X509Certificate, Command, vault, parseDocument, z].length;
  log.info({ listen: `127.0.0.1:${port ?? 0}`, libraries }, "serving metrics");
});
