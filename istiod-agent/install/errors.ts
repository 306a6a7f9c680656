import { MeshError } from "../../common/runtime/errors.ts";

/** A fault of the file system as the operator must see it. Errors of ours pass unchanged. */
export function installError(directory: string, thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown;
  const { code = "", message } = thrown instanceof Error ? (thrown as NodeJS.ErrnoException) : { message: "" };
  const [fault, hint] = FAULTS[code] ?? [message, "check the volume that is mounted there"];
  return new MeshError("install_failed", `directory ${directory} ${fault}`, { hint, cause: thrown });
}

const MEMORY_VOLUME = "mount an emptyDir with medium Memory there, in istiod and in the istiod-agent";
const READ_ONLY = "mount it without readOnly in the istiod-agent";
const OWNER = "run the istiod-agent as the user of istiod (1337), or give the volume a group with fsGroup";
const FULL = "raise sizeLimit of the emptyDir, or remove files that do not belong there";

const FAULTS: Readonly<Record<string, readonly [string, string]>> = {
  ENOENT: ["does not exist", MEMORY_VOLUME],
  ENOTDIR: ["is not a directory", MEMORY_VOLUME],
  EROFS: ["is read-only", READ_ONLY],
  EACCES: ["may not be written by this user", OWNER],
  EPERM: ["may not be written by this user", OWNER],
  ENOSPC: ["is full", FULL],
  EDQUOT: ["is full", FULL],
};
