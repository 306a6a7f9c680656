import { chmod, mkdir, rm, symlink } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import type { Ground } from "./ground.ts";

/** Where the commands are run. It is kept, so that a later walk can go on from any step. */
export interface Workplace {
  readonly directory: string;
  /** Variables of the shell after the last step, as `export -p` prints them. */
  readonly variables: string;
  readonly env: Readonly<Record<string, string>>;
}

const REPOSITORY = join(import.meta.dirname, "../..");

/** What the documents name by a path. */
const SHOWN = ["deploy", "examples"];

/** Makes the folder for a walk, empty where it begins anew. Its programs come before those of the PATH. */
export async function prepareWorkplace(directory: string, ground: Ground, isNew: boolean): Promise<Workplace> {
  const path = resolve(directory);
  if (isNew) await rm(path, { recursive: true, force: true });
  await mkdir(path, { recursive: true, mode: 0o700 });
  // Vault's root key comes to lie here.
  await chmod(path, 0o700);
  for (const name of SHOWN) {
    await rm(join(path, name), { force: true });
    await symlink(join(REPOSITORY, name), join(path, name));
  }
  const programs = { ...ground.programs, meshctl: join(REPOSITORY, "dist/meshctl.js") };
  for (const [name, program] of Object.entries(programs)) {
    await writeFileAtomic(join(path, "bin", name), wrapper(name, program, ground), 0o755);
  }
  if (ground.programs["istioctl"] === undefined && ground.istioFlags.length > 0) {
    await writeFileAtomic(join(path, "bin/istioctl"), wrapper("istioctl", "istioctl", ground), 0o755);
  }
  const [first, second] = ground.contexts;
  const env = {
    PATH: [join(path, "bin"), process.env["PATH"] ?? ""].join(delimiter),
    CONTEXT_1: first,
    CONTEXT_2: second,
    ...(ground.kubeconfig === undefined ? {} : { KUBECONFIG: ground.kubeconfig }),
  };
  return { directory: path, variables: join(path, "variables.sh"), env };
}

/** istioctl takes its flags behind the word install; meshctl is a script of Node's. */
function wrapper(name: string, program: string, { istioFlags }: Ground): string {
  const own = 'PATH="${PATH#*:}"; export PATH';
  if (name === "meshctl") return `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`;
  if (name !== "istioctl") return `#!/bin/sh\nexec '${program}' "$@"\n`;
  const flags = istioFlags.map((flag) => `'${flag}'`).join(" ");
  return `#!/bin/sh\n${own}\ncase " $* " in *" install "*) set -- "$@" ${flags} ;; esac\nexec '${program}' "$@"\n`;
}
