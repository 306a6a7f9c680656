import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { Latest } from "../../common/runtime/latest.ts";
import type { Log } from "../../common/runtime/log.ts";
import { intentOfFiles, type SourcedIntent } from "../intent/snapshot.ts";

/** One YAML file as it was read. */
export interface SourceFile {
  /** Name below the directory. */
  readonly file: string;
  /** SHA-256 of the bytes, lower-case hex. */
  readonly sha256: string;
  readonly text: string;
}

/** Something that could not be read. */
export interface SourceFault {
  /** Name below the directory; "." for the directory itself. */
  readonly file: string;
  readonly message: string;
}

/** What lies in the directory now. A file that is absent says nothing about what it once described. */
export interface SourceSnapshot {
  /** In order of name. */
  readonly files: readonly SourceFile[];
  readonly faults: readonly SourceFault[];
}

export interface SourceDirectoryOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds between looks; default 500. Polling works on every file system, watches do not. */
  readonly pollMs?: number;
}

const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** File systems stamp coarsely, so a file changed this recently is read again even when its stamp stands still. */
const FRESH_MS = 2_000;

interface Seen extends SourceFile {
  readonly stamp: string;
}

/** Watches a directory of *.yaml and *.yml files; subdirectories and dot files are left out. */
export class SourceDirectory {
  /** Set once the directory was read, then on each change. */
  readonly snapshots = new Latest<SourceSnapshot>();
  /** The same, read. */
  readonly intents = new Latest<SourcedIntent>();
  readonly #options: SourceDirectoryOptions;
  #seen = new Map<string, Seen>();
  #published = "";

  constructor(options: SourceDirectoryOptions) {
    this.#options = options;
  }

  /** To be called before the start: throws `config_invalid` when the directory cannot be read. */
  async check(): Promise<void> {
    const { path } = this.#options;
    try {
      await readdir(path);
    } catch (cause) {
      throw new MeshError("config_invalid", `source directory ${path} cannot be read: ${reason(cause)}`, {
        cause,
        hint: "create the directory, or name another one",
      });
    }
  }

  /** Reads again and again until `signal` is aborted; a directory that cannot be read is a fault in the snapshot. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, pollMs = 500 } = this.#options;
    while (!signal.aborted) {
      this.#publish(await this.#scan());
      await clock.sleep(pollMs, signal).catch(() => undefined);
    }
  }

  async #scan(): Promise<SourceSnapshot> {
    const seen = new Map<string, Seen>();
    const faults: SourceFault[] = [];
    for (const file of await this.#names(faults)) {
      try {
        seen.set(file, await this.#read(file));
      } catch (error) {
        // Gone between listing and reading is the same as gone.
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") faults.push({ file, message: reason(error) });
      }
    }
    this.#seen = seen;
    return { files: [...seen.values()].map(({ file, sha256, text }) => ({ file, sha256, text })), faults };
  }

  async #names(faults: SourceFault[]): Promise<string[]> {
    try {
      const names = await readdir(this.#options.path);
      return names.filter((name) => /^[^.].*\.ya?ml$/.test(name)).sort();
    } catch (error) {
      faults.push({ file: ".", message: `directory cannot be read: ${reason(error)}` });
      return [];
    }
  }

  async #read(file: string): Promise<Seen> {
    const path = join(this.#options.path, file);
    const { ino, size, mtimeNs, ctimeNs, mtimeMs } = await stat(path, { bigint: true });
    const stamp = [ino, size, mtimeNs, ctimeNs].join(" ");
    const known = this.#seen.get(file);
    if (known?.stamp === stamp && this.#options.clock.now() - Number(mtimeMs) > FRESH_MS) return known;
    if (size > MAX_FILE_BYTES) {
      throw new MeshError("invalid_argument", `file has ${size} bytes, at most ${MAX_FILE_BYTES} are read`);
    }
    const bytes = await readFile(path);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { file, sha256, text: bytes.toString("utf8"), stamp };
  }

  #publish(snapshot: SourceSnapshot): void {
    const content = JSON.stringify([snapshot.files.map(({ file, sha256 }) => [file, sha256]), snapshot.faults]);
    if (content === this.#published) return;
    const before = this.snapshots.value;
    this.#published = content;
    this.#report(snapshot, before);
    this.snapshots.set(snapshot);
    this.intents.set(intentOfFiles(snapshot));
  }

  #report({ files, faults }: SourceSnapshot, before: SourceSnapshot | undefined): void {
    const { log, path } = this.#options;
    log.info("source directory read", { path, files: files.length });
    for (const { file, message } of faults) log.warn("source cannot be read", { path, file, reason: message });
    const gone = (before?.files ?? []).filter(({ file }) => !files.some((other) => other.file === file));
    if (gone.length > 0) {
      log.warn("source files are gone; what they described stays in force", { path, files: gone.map((f) => f.file) });
    }
  }
}

const reason = (thrown: unknown): string => MeshError.from(thrown).message;
