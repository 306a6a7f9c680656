import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { connect } from "node:tls";
import { ServingCertificate } from "../../agent/certs/serving-certificate.ts";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { methodTable, startGrpcServer } from "../../common/session/server.ts";
import { temporaryFolder } from "../harness/folder.ts";
import { eventually } from "../harness/wait.ts";

const DAY_MS = 86_400_000;

test("serving certificate - stands for its names under the published bundle, and is renewed without a new bundle", async () => {
  await using folder = await temporaryFolder();
  const caFile = folder.file("agent-ca.pem");
  // TLS judges by the machine's clock, so time that is moved on must have begun in the past.
  const clock = new ManualClock(Date.now() - 20 * DAY_MS);
  const publish = (caPem: string): Promise<void> => writeFileAtomic(caFile, caPem, 0o644);
  const certificate = await ServingCertificate.create(
    { publish, namespace: "mesh-system", extraNames: ["agent.example", "10.1.2.3"], clock },
    new AbortController().signal,
  );
  const bundle = await readFile(caFile, "utf8");
  assert.doesNotMatch(bundle, /PRIVATE/);
  const { credentials } = certificate;
  const server = await startGrpcServer({
    listen: "127.0.0.1:0",
    credentials,
    services: [],
    authorize: methodTable({}),
  });
  const shown = async (servername: string, maxVersion: "TLSv1.1" | "TLSv1.3" = "TLSv1.3") => {
    const port = Number(server.address.split(":")[1]);
    const options = { port, host: "127.0.0.1", ca: bundle, servername, maxVersion, minVersion: "TLSv1.1" as const };
    const socket = connect({ ...options, ALPNProtocols: ["h2"] });
    try {
      await once(socket, "secureConnect");
      return { serial: socket.getPeerCertificate().serialNumber, names: socket.getPeerCertificate().subjectaltname };
    } finally {
      socket.destroy();
    }
  };
  const stop = new AbortController();
  const running = certificate.run(stop.signal);
  try {
    const first = await shown("enterprise-agent.mesh-system");
    for (const name of ["enterprise-agent.mesh-system.svc", "localhost", "agent.example"]) await shown(name);
    assert.match(first.names ?? "", /IP Address:127\.0\.0\.1, IP Address:10\.1\.2\.3/);
    await assert.rejects(shown("elsewhere.example"), /ERR_TLS_CERT_ALTNAME_INVALID|does not match/);
    await assert.rejects(shown("localhost", "TLSv1.1"));
    clock.advance(20 * DAY_MS);
    await eventually("a new certificate", async () => (await shown("localhost")).serial !== first.serial);
    assert.equal(await readFile(caFile, "utf8"), bundle);
  } finally {
    stop.abort();
    await running;
    await server.close(0);
  }
});
