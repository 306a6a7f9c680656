import assert from "node:assert/strict";
import { test } from "node:test";
import { MeshError } from "../common/runtime/errors.ts";
import { type ConnectionConfig, hintFor } from "./connection.ts";

const hintOf = (message: string, config: Partial<ConnectionConfig>): string => {
  return hintFor(new MeshError("unavailable", message), config as ConnectionConfig) ?? "";
};

test("meshctl - who may not open the admin socket is told so, and not that the server is away", () => {
  const here = { stateDir: "/state" };
  assert.match(hintOf("connect EACCES /state/admin.sock", here), /own user alone.*operator's certificate$/);
  assert.match(hintOf("connect ENOENT /state/admin.sock", here), /check that enterprise-networking runs here/);
});
