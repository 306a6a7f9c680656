import { join } from "node:path";
import * as z from "zod";
import { formatHostPort } from "../common/runtime/settings.ts";
import { runCommand } from "../test/harness/command.ts";
import { freePort } from "../test/harness/ports.ts";
import type { Cluster } from "./cluster.ts";
import type { FixedAddresses } from "./ports.ts";
import { bundle, type ProgramSpec } from "./programs.ts";
import { secretDirectory, type Workspace } from "./workspace.ts";

/** The management server: its addresses. */
export interface ServerPlan {
  readonly fixed: FixedAddresses;
  readonly admin: string;
  readonly monitor: string;
  readonly stateDir: string;
  readonly adminSocket: string;
}

/** Chooses the free ports and makes the state directory. */
export async function planServer(fixed: FixedAddresses, workspace: Workspace): Promise<ServerPlan> {
  const stateDir = secretDirectory(workspace, "server");
  return {
    fixed,
    admin: `127.0.0.1:${await freePort()}`,
    monitor: `127.0.0.1:${await freePort()}`,
    stateDir,
    adminSocket: join(stateDir, "admin.sock"),
  };
}

/** The program, reading the source directory of the workspace. */
export function serverSpec(plan: ServerPlan, workspace: Workspace): ProgramSpec {
  const [relay, enrollment] = [formatHostPort(plan.fixed.relay), formatHostPort(plan.fixed.enrollment)];
  return {
    name: "server",
    listeners: { relay, enrollment, admin: plan.admin, monitor: plan.monitor, "admin socket": plan.adminSocket },
    whenKilled: "restart",
    ...bundle(
      "enterprise-networking",
      ...["--source-dir", workspace.source, "--state-dir", plan.stateDir, "--admin-socket", plan.adminSocket],
      ...["--relay-listen", relay, "--enrollment-listen", enrollment],
      ...["--admin-listen", plan.admin, "--monitor-listen", plan.monitor],
    ),
  };
}

const registration = z.object({ trustPin: z.string() });

/** Registers a cluster as an operator would: meshctl over the admin socket. Returns the pin of the relay's root. */
export async function registerCluster({ adminSocket }: ServerPlan, cluster: Cluster): Promise<string> {
  const { command, args } = bundle(
    "meshctl",
    ...["cluster", "register", cluster.name, "--token-file", cluster.files.registrationToken],
    ...["--admin-socket", adminSocket, "--json"],
  );
  const output = await runCommand(command, args);
  return registration.parse(JSON.parse(output)).trustPin;
}
