import { defineOptions } from "../common/runtime/config.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";
import { booleanSwitch } from "../common/runtime/settings.ts";
import { formatTable } from "../common/runtime/table.ts";
import {
  AdminServiceService,
  RegistryServiceService,
  RelayCa,
  RelayCaStage,
  relayCaStageToJSON,
} from "../proto/gen/admin/v1/admin.ts";
import { CALL_TIMEOUT_MS, connectionOptions, withServer } from "./connection.ts";
import { formatTime, outputOptions, print, printJson } from "./output.ts";

/** What stands, and what comes next. */
const STAGES: Partial<Record<RelayCaStage, string>> = {
  [RelayCaStage.RELAY_CA_STAGE_STABLE]: "one root is trusted, and signs; no rotation is under way",
  [RelayCaStage.RELAY_CA_STAGE_TRUSTING]:
    "a new root is trusted beside the old one, which signs; next, the new one signs",
  [RelayCaStage.RELAY_CA_STAGE_SWITCHED]:
    "the new root signs, the old one is still trusted; next, the old one is dropped",
};

const show = command({
  name: "relay ca",
  description: "show the roots of the relay's own certificate authority, and how a rotation stands",
  options: { ...connectionOptions, ...outputOptions },
  oneShot: true,
  run: async (config, { signal }) => {
    const { ca } = await withServer(config, signal, (dialer) =>
      dialer.unary(AdminServiceService.getRelayCa, {}, { signal, timeoutMs: CALL_TIMEOUT_MS }),
    );
    printCa(ca, config.json);
  },
});

const rotate = command({
  name: "relay rotate-ca",
  description: "take the next of the three steps that replace the relay's own root",
  options: {
    ...defineOptions({
      force: {
        path: "force",
        schema: booleanSwitch.default(false),
        help: "also when it shuts out clusters, each of which then needs a new token",
      },
    }),
    ...connectionOptions,
    ...outputOptions,
  },
  oneShot: true,
  run: async (config, { signal }) => {
    const call = { signal, timeoutMs: CALL_TIMEOUT_MS };
    const { force } = config;
    const { ca } = await withServer(config, signal, async (dialer) => {
      const before = await dialer.unary(AdminServiceService.getRelayCa, {}, call);
      const from = before.ca?.stage ?? RelayCaStage.RELAY_CA_STAGE_UNSPECIFIED;
      return dialer.unary(RegistryServiceService.rotateRelayCa, { from, force }, call);
    });
    printCa(ca, config.json);
  },
});

function printCa(ca: RelayCa | undefined, json: boolean): void {
  if (!ca) throw new MeshError("internal", "the server told nothing of its certificate authority");
  if (json) return printJson(RelayCa.toJSON(ca));
  print(STAGES[ca.stage] ?? relayCaStageToJSON(ca.stage));
  const roots = ca.roots.map(({ pin, notAfter, signs }) => [pin, formatTime(notAfter), signs ? "yes" : "no"]);
  print(formatTable(["ROOT", "UNTIL", "SIGNS"], roots));
  if (ca.lagging.length === 0) return;
  print("\nthe next step waits for these clusters:\n");
  const clusters = ca.lagging.map(({ cluster, connected, certificateNotAfter }) => [
    cluster,
    connected ? "yes" : { text: "no", style: "yellow" as const },
    formatTime(certificateNotAfter),
  ]);
  print(formatTable(["CLUSTER", "CONNECTED", "CERTIFICATE UNTIL"], clusters));
}

export const relayCaCommands: readonly AnyCommand[] = [show, rotate];
