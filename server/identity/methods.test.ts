import assert from "node:assert/strict";
import { test } from "node:test";
import { MeshError } from "../../common/runtime/errors.ts";
import { ManualClock } from "../../common/runtime/manual-clock.ts";
import { methodTable } from "../../common/session/server.ts";
import type { ClusterRegistry } from "./registry.ts";
import { relayMethods } from "./methods.ts";

test("methods - an operator who calls without end is slowed down, and takes nothing from another one", async () => {
  const clock = new ManualClock();
  const registry = {
    admitOperator: (certificate: Buffer | undefined) => certificate?.toString() ?? "",
  } as unknown as ClusterRegistry;
  const authorize = methodTable(relayMethods(registry, clock));
  const call = async (operator: string, method: string): Promise<string> => {
    const caller = { method, certificate: Buffer.from(operator), peer: "10.1.2.3:4" };
    try {
      await authorize({ ...caller, metadata: undefined as never });
      return "let in";
    } catch (error) {
      return MeshError.from(error).code;
    }
  };
  const change = "/admin.v1.RegistryService/RegisterCluster";
  for (let count = 0; count < 100; count++) assert.equal(await call("alice", change), "let in");
  assert.equal(await call("alice", change), "resource_exhausted");
  assert.equal(await call("bob", change), "let in");
  assert.equal(await call("alice", "/admin.v1.AdminService/ListSessions"), "let in");
  clock.advance(100);
  assert.deepEqual([await call("alice", change), await call("alice", change)], ["let in", "resource_exhausted"]);
});
