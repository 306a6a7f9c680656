import { once } from "node:events";
import { connect } from "node:net";
import * as z from "zod";
import { defineOptions } from "../common/runtime/config.ts";
import { MeshError } from "../common/runtime/errors.ts";
import { type AnyCommand, command } from "../common/runtime/process.ts";

const stdio = command({
  name: "admin stdio",
  description: "join standard input and output to the admin socket; meshctl runs it in the server's pod",
  options: defineOptions({
    adminSocket: {
      path: "admin.socket",
      schema: z.string().min(1),
      help: "admin socket of the server",
      argument: "file",
    },
  }),
  oneShot: true,
  run: ({ adminSocket }, { signal }) => joinSocket(adminSocket, signal),
});

/** Resolves when the server has ended the connection, which it does when standard input has ended. */
async function joinSocket(path: string, signal: AbortSignal): Promise<void> {
  const socket = connect({ path, allowHalfOpen: true });
  const abort = (): void => void socket.destroy();
  signal.addEventListener("abort", abort, { once: true });
  try {
    await once(socket, "connect");
    process.stdin.pipe(socket).pipe(process.stdout);
    await once(socket, "close");
  } catch (thrown) {
    const { message } = MeshError.from(thrown);
    throw new MeshError("unavailable", `the server's admin socket is not to be had: ${message}`, {
      hint: "see the server's log in this pod",
    });
  }
}

export const adminCommands: readonly AnyCommand[] = [stdio];
