import { runCommand } from "../../harness/command.ts";
import { findInstalled } from "../../tools/registry.ts";
import { fileAt, linkAt, type Entry } from "./entries.ts";

/** A static busybox under the names of all its programs, so that `kubectl exec … /bin/sh` works in every image. */
export async function shell(): Promise<Entry[]> {
  const busybox = findInstalled(["busybox"]) ?? "/bin/busybox";
  const names = (await runCommand(busybox, ["--list"])).trim().split("\n");
  const links = names.filter((name) => name !== "busybox").map((name) => linkAt(`/bin/${name}`, "busybox"));
  return [fileAt("/bin/busybox", busybox), ...links];
}
