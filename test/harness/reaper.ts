import { spawn } from "node:child_process";
import { Socket } from "node:net";
import type { Writable } from "node:stream";
import { once } from "node:events";

/**
 * A shell that outlives this process however it ends, SIGKILL too: when the pipe from us closes, it kills the process
 * groups and removes the folders that were entered and not taken out again. It ignores Ctrl-C, which is for us.
 */
const SCRIPT = `
trap '' INT TERM HUP
groups= folders=
while read -r operation value; do
  case $operation in
    +group) groups="$groups $value" ;;
    -group) kept=; for g in $groups; do [ "$g" = "$value" ] || kept="$kept $g"; done; groups=$kept ;;
    +folder) folders="$folders $value" ;;
    -folder) kept=; for f in $folders; do [ "$f" = "$value" ] || kept="$kept $f"; done; folders=$kept ;;
  esac
done
for g in $groups; do kill -s KILL -- "-$g" 2>/dev/null; done
for f in $folders; do rm -rf -- "$f"; done
`;

export type Reaped = "group" | "folder";

/** The pipe to this process's reaper, which is started by the first who needs it. */
let pipe: Promise<Writable> | undefined;

/** Marks a process group (by its leader's pid) or a folder (its path has no spaces) as to be gone when we are. */
export async function enterReaped(kind: Reaped, value: string | number): Promise<void> {
  await tell(`+${kind} ${value}`);
}

/** Takes a mark back, when the thing has gone in good order: a pid may by then be another's. */
export async function leaveReaped(kind: Reaped, value: string | number): Promise<void> {
  await tell(`-${kind} ${value}`);
}

async function tell(line: string): Promise<void> {
  pipe ??= start();
  (await pipe).write(`${line}\n`);
}

/** Neither the shell nor its pipe keeps this process alive. */
async function start(): Promise<Writable> {
  const child = spawn("/bin/sh", ["-c", SCRIPT], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  await once(child, "spawn");
  child.unref();
  const { stdin } = child;
  if (stdin instanceof Socket) stdin.unref();
  return stdin;
}
