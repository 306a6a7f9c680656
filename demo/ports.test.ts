import assert from "node:assert/strict";
import { test } from "node:test";
import { formatHostPort, type HostPort } from "../common/runtime/settings.ts";
import { planAddresses } from "./ports.ts";

const free = async (): Promise<undefined> => undefined;
const agentsOf = ({ agents }: { agents: readonly HostPort[] }): string[] => agents.map(formatHostPort);

test("demo ports - each agent has the fixed port on a loopback address of its own", async () => {
  const { relay, enrollment, ...rest } = await planAddresses(2, 0, free);
  assert.deepEqual([relay, enrollment].map(formatHostPort), ["127.0.0.1:9900", "127.0.0.1:9901"]);
  assert.deepEqual(agentsOf(rest), ["127.0.0.1:9977", "127.0.0.2:9977"]);
  assert.deepEqual(agentsOf(await planAddresses(2, 100, free)), ["127.0.0.1:10077", "127.0.0.2:10077"]);
});

test("demo ports - without a second loopback address the second agent has the next port", async () => {
  const one = async ({ host }: HostPort) => (host === "127.0.0.1" ? undefined : "EADDRNOTAVAIL");
  assert.deepEqual(agentsOf(await planAddresses(2, 0, one)), ["127.0.0.1:9977", "127.0.0.1:9978"]);
});

test("demo ports - every address that is taken is named at once", async () => {
  const taken = async ({ port }: HostPort) => (port === 9901 || port === 9977 ? "EADDRINUSE" : undefined);
  await assert.rejects(planAddresses(2, 0, taken), {
    code: "port_in_use",
    message: "another process listens on 127.0.0.1:9901 and 127.0.0.1:9977 and 127.0.0.2:9977",
  });
});
