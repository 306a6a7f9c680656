import { spawn } from "node:child_process";
import { once } from "node:events";
import { Socket } from "node:net";
import { join } from "node:path";

/**
 * Reads until our end of the pipe closes; a line means that all is well. It ignores Ctrl-C, which is for us. The pause
 * lets test files that use the fleet see that we have gone.
 */
const SCRIPT = `trap '' INT TERM HUP; read -r line || { sleep 2; exec "$@" >/dev/null 2>&1; }`;

/**
 * Takes a fleet down when this process ends without disposing what is returned: killed, crashed or interrupted. The
 * fleet need not be up yet.
 */
export async function downWhenWeEnd(fleet: string): Promise<AsyncDisposable> {
  const down = [process.execPath, join(import.meta.dirname, "main.ts"), "down", "--fleet", fleet];
  const child = spawn("/bin/sh", ["-c", SCRIPT, "sh", ...down], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  await once(child, "spawn");
  const { stdin } = child;
  if (stdin instanceof Socket) stdin.unref();
  child.unref();
  return {
    async [Symbol.asyncDispose]() {
      child.ref();
      const ended = once(child, "exit");
      stdin.end("done\n");
      await ended;
    },
  };
}
