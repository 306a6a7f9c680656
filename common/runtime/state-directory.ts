import { chmod, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { MeshError } from "./errors.ts";
import { readJsonState, writeFileAtomic } from "./files.ts";
import { takeLock } from "./state-lock.ts";

/** Whose directory it is. A directory is never read by another owner. */
export interface StateOwner {
  /** Name of the program, e.g. "enterprise-agent". */
  readonly program: string;
  /** The cluster whose identity lies in it; for programs that belong to one. */
  readonly cluster?: string;
}

/** One JSON file of a state directory. */
export interface StateDocument<T> {
  /** What was written last; undefined before the first write. Throws `state_corrupt` for what it did not write. */
  read(): Promise<T | undefined>;
  /** Replaces it whole; a reader, also one after a crash, sees the old value or the new one. */
  write(value: T): Promise<void>;
}

const OWNER_FILE = "owner.json";
const LOCK_FILE = "lock";
/** Rises when documents change so that an older program would misread them. */
const FORMAT = 1;

const ownerSchema = z.object({ program: z.string(), cluster: z.string().optional(), format: z.number().int() });

/** A directory of mode 0700 that one process at a time owns, with documents of mode 0600. */
export class StateDirectory {
  readonly path: string;
  readonly #unlock: () => Promise<void>;

  private constructor(path: string, unlock: () => Promise<void>) {
    this.path = path;
    this.#unlock = unlock;
  }

  /**
   * Opens `path` for `owner`, makes it where there is none. Throws `state_foreign` when it belongs to another program,
   * cluster or later version, or holds files of an unknown origin; `conflict` while another process has it open.
   */
  static async open(path: string, owner: StateOwner): Promise<StateDirectory> {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const unlock = await takeLock(join(path, LOCK_FILE), path);
    try {
      await checkOwner(path, owner);
      await chmod(path, 0o700);
      await removeLeftovers(path);
    } catch (error) {
      await unlock();
      throw error;
    }
    return new StateDirectory(path, unlock);
  }

  /** Absolute or relative path of a file in it. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** The document `name`.json, checked by `schema` when it is read. */
  document<T>(name: string, schema: z.ZodType<T>): StateDocument<T> {
    const path = this.file(`${name}.json`);
    return {
      read: async () => {
        const value = await readJsonState(path);
        return value === undefined ? undefined : parseState(path, schema, value);
      },
      write: (value) => writeFileAtomic(path, `${JSON.stringify(value, undefined, 2)}\n`, 0o600),
    };
  }

  /** Lets the next process in. The directory must not be used afterwards. */
  async close(): Promise<void> {
    await this.#unlock();
  }
}

function parseState<T>(path: string, schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  // Only the place and the kind of fault: the values may be keys.
  throw new MeshError("state_corrupt", `${path}: ${issue?.path.join(".") || "document"}: ${issue?.code ?? "invalid"}`, {
    hint: `restore ${path} from a backup, or move it away to start without it`,
  });
}

async function checkOwner(path: string, { program, cluster }: StateOwner): Promise<void> {
  const file = join(path, OWNER_FILE);
  const value = await readJsonState(file);
  if (value === undefined) {
    await refuseStrangeFiles(path);
    await writeFileAtomic(file, `${JSON.stringify({ program, cluster, format: FORMAT })}\n`);
    return;
  }
  const found = parseState(file, ownerSchema, value);
  const hint = "give each program and each cluster a --state-dir of its own";
  if (found.program !== program) {
    throw new MeshError("state_foreign", `state directory ${path} belongs to ${found.program}, not ${program}`, {
      hint,
    });
  }
  if (found.cluster !== cluster) {
    const [theirs, ours] = [found.cluster ?? "no cluster", cluster ?? "no cluster"];
    throw new MeshError("state_foreign", `state directory ${path} belongs to ${theirs}, not ${ours}`, { hint });
  }
  if (found.format > FORMAT) {
    throw new MeshError("state_foreign", `state directory ${path} has format ${found.format}, want at most ${FORMAT}`, {
      hint: "run the version of the program that wrote it, or a later one",
    });
  }
}

const LEFTOVER = /^\.[0-9a-f]+\.tmp$/;

async function refuseStrangeFiles(path: string): Promise<void> {
  const strange = (await readdir(path)).find((name) => !LEFTOVER.test(name) && !name.startsWith(LOCK_FILE));
  if (strange === undefined) return;
  throw new MeshError("state_foreign", `state directory ${path} holds ${strange} but no ${OWNER_FILE}`, {
    hint: "give an empty or a new directory as --state-dir",
  });
}

/** A killed process leaves half-written files, which may hold keys. */
async function removeLeftovers(path: string): Promise<void> {
  const leftovers = (await readdir(path)).filter((name) => LEFTOVER.test(name));
  await Promise.all(leftovers.map((name) => rm(join(path, name), { force: true })));
}
