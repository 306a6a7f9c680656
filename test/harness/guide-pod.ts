import { delimiter, join } from "node:path";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { runCommand } from "./command.ts";
import type { TemporaryFolder } from "./folder.ts";

/** Where a pod finds the token of its account and the CA of its API server. */
const ACCOUNT_FOLDER = "secrets/kubernetes.io/serviceaccount";

/** Runs the words after `$0` with a /var/run of their own that holds the files of `POD_FILES`, as a pod has it. */
const IN_POD = [
  'run=$(realpath /var/run) && mount -t tmpfs -o mode=0700 tmpfs "$run"',
  `mkdir -p "$run/${ACCOUNT_FOLDER}"`,
  `cp "$POD_FILES"/* "$run/${ACCOUNT_FOLDER}" && exec "$@"`,
].join(" && ");

const ISOLATED = ["unshare", "--user", "--map-root-user", "--mount"] as const;

/** `kubectl … exec … -- COMMAND` runs COMMAND in the stand-in; whatever else is asked has been done already. */
const KUBECTL = `#!/bin/sh
case "$*" in *" exec "*) ;; *) exit 0 ;; esac
while [ "$1" != "--" ]; do shift; done
shift
exec ${ISOLATED.join(" ")} /bin/sh -c '${IN_POD}' pod "$@"
`;

export interface GuidePod {
  /** Holds programs and files of the stand-in. */
  readonly folder: TemporaryFolder;
  /** Taken as `vault` by the commands. */
  readonly vaultProgram: string;
  /** What the pod `vault-0` finds in its account's folder, by file name. */
  readonly accountFiles: Readonly<Record<string, string>>;
  /** Its variables. */
  readonly env: Readonly<Record<string, string>>;
}

/** True where this machine lets us give a command a /var/run of its own: Linux with user namespaces. */
export async function canIsolate(): Promise<boolean> {
  const [command, ...args] = [...ISOLATED, "true"];
  return runCommand(command, args).then(
    () => true,
    () => false,
  );
}

/**
 * Runs a shell script of the guide as it is printed, for one cluster, where no pod can run: `helm` and `kubectl wait`
 * do nothing, and `kubectl exec` into `vault-0` runs its command here, with that pod's files and variables. Stops at
 * the first command that fails.
 */
export async function runGuideScript(scriptFile: string, pod: GuidePod): Promise<string> {
  const programs = pod.folder.file("bin");
  const vault = `#!/bin/sh\nexec '${pod.vaultProgram}' "$@"\n`;
  for (const [name, text] of Object.entries({ kubectl: KUBECTL, helm: "#!/bin/sh\n", vault })) {
    await writeFileAtomic(join(programs, name), text, 0o700);
  }
  const files = pod.folder.file("account");
  for (const [name, text] of Object.entries(pod.accountFiles)) await writeFileAtomic(join(files, name), text);
  return runCommand("bash", ["-e", scriptFile], {
    cwd: pod.folder.path,
    env: {
      ...pod.env,
      PATH: `${programs}${delimiter}${process.env["PATH"] ?? ""}`,
      POD_FILES: files,
      CONTEXT_1: "cluster-1",
      CONTEXT_2: "",
    },
  });
}
