import { type AnyCommand, command } from "../common/runtime/process.ts";
import { VERSION } from "../common/runtime/version.ts";
import { printJson } from "./output.ts";

/** In the reference's form. `server` lists the components of a cluster; without a cluster there are none to list. */
const version = command({
  name: "version",
  description: "print the versions of this program and of the server's components as JSON",
  options: {},
  oneShot: true,
  run: async () => printJson({ client: { version: VERSION }, server: null }),
});

export const versionCommands: readonly AnyCommand[] = [version];
