import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { certificateFacts, parseCertificates } from "../../common/pki/certificate.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { takeLock } from "../../common/runtime/state-lock.ts";
import { type CaFiles, readCaFiles, type SigningCa, toCaFiles } from "../issue/signing-ca.ts";
import { installError } from "./errors.ts";
import { recover, replaceFiles, WORK_FOLDER } from "./staging.ts";

export interface InstallerOptions {
  /** The directory that istiod reads, /etc/cacerts in a pod. */
  readonly directory: string;
  /** Mode of ca-key.pem: 0600 when istiod runs as our user, 0640 when only the group is the same. */
  readonly keyMode?: 0o600 | 0o640;
  readonly clock: Clock;
}

/** What lay in the directory: a set that is sound now, or why there is none to go on with. */
export type Adoption =
  { readonly kind: "adopted"; readonly ca: SigningCa } | { readonly kind: "none"; readonly reason: string };

/** The content of root-cert.pem. */
export interface InstalledRoot {
  /** Byte for byte; may hold several roots. */
  readonly pem: string;
  /** SHA-256 of the DER form of each, lower-case hex. */
  readonly sha256s: readonly string[];
}

/**
 * The one writer of the four files that istiod reads. The directory holds one whole set or, between two renames, the
 * rest of it lies staged beside and goes into force at the next `open`. Dispose it to let the next writer in.
 */
export class Installer implements AsyncDisposable {
  readonly directory: string;
  readonly #options: InstallerOptions;
  readonly #unlock: () => Promise<void>;

  private constructor(options: InstallerOptions, unlock: () => Promise<void>) {
    this.directory = options.directory;
    this.#options = options;
    this.#unlock = unlock;
  }

  /**
   * Takes the directory and finishes what a killed process left in it. Throws `install_failed` when it is missing,
   * read-only or full, or holds tls.crt, which istiod would read instead; `conflict` while another istiod-agent of this
   * machine or container has it.
   */
  static async open(options: InstallerOptions): Promise<Installer> {
    const { directory } = options;
    const work = join(directory, WORK_FOLDER);
    let unlock: (() => Promise<void>) | undefined;
    try {
      checkDirectory(directory);
      // Not recursive: that says ENOENT for a read-only volume.
      if (!existsSync(work)) mkdirSync(work, { mode: 0o700 });
      unlock = await takeLock(join(work, "lock"), `directory ${directory}`);
      recover(directory);
    } catch (error) {
      await unlock?.();
      throw installError(directory, error);
    }
    return new Installer(options, unlock);
  }

  /** Reads and proves the set that lies there, so that a restart need not ask Vault. */
  async adopt(): Promise<Adoption> {
    try {
      const files = CA_FILES.map((name) => [name, this.#read(name)] as const);
      const found = files.filter(([, text]) => text !== undefined);
      if (found.length < CA_FILES.length) {
        return { kind: "none", reason: `${this.directory} holds ${found.length} of ${CA_FILES.length} files` };
      }
      const ca = await readCaFiles(Object.fromEntries(files) as unknown as CaFiles, this.#options.clock.now());
      return { kind: "adopted", ca };
    } catch (error) {
      return { kind: "none", reason: MeshError.from(error).message };
    }
  }

  /** undefined where there is no root-cert.pem, or nothing readable in it. */
  installedRoot(): InstalledRoot | undefined {
    const pem = this.#read("root-cert.pem");
    if (pem === undefined) return undefined;
    try {
      const sha256s = parseCertificates(pem).map((certificate) => certificateFacts(certificate).sha256Fingerprint);
      return { pem, sha256s };
    } catch {
      return undefined;
    }
  }

  /**
   * Puts a CA in force. root-cert.pem stays untouched while it holds the CA's root: istiod takes any other byte for a
   * change of trust. Throws `ca_other_root` when it holds another one, and `install_failed`.
   */
  install(ca: SigningCa): void {
    const { "root-cert.pem": rootFile, ...files } = toCaFiles(ca);
    const installed = this.installedRoot();
    if (installed && !installed.sha256s.includes(ca.facts.rootSha256)) {
      throw new MeshError(
        "ca_other_root",
        `the ca ends in root ${ca.facts.rootSha256}, ${this.directory} trusts ${installed.sha256s.join(", ")}`,
        { hint: "rotate the root instead; where nothing uses the old one any more, empty the directory" },
      );
    }
    this.#replace(installed ? files : { ...files, "root-cert.pem": rootFile });
  }

  /** Writes ca-cert.pem once more with the same bytes, so that istiod reads all files again. */
  touch(): void {
    const certificate = this.#read("ca-cert.pem");
    if (certificate !== undefined) this.#replace({ "ca-cert.pem": certificate });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#unlock();
  }

  #replace(files: Partial<CaFiles>): void {
    try {
      replaceFiles(this.directory, files, this.#options.keyMode ?? 0o600);
    } catch (error) {
      throw installError(this.directory, error);
    }
  }

  #read(name: string): string | undefined {
    try {
      return readFileSync(join(this.directory, name), "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw installError(this.directory, error);
    }
  }
}

const CA_FILES = [
  "ca-key.pem",
  "ca-cert.pem",
  "cert-chain.pem",
  "root-cert.pem",
] as const satisfies readonly (keyof CaFiles)[];

function checkDirectory(directory: string): void {
  if (!statSync(directory).isDirectory()) throw Object.assign(new Error("no directory"), { code: "ENOTDIR" });
  if (existsSync(join(directory, "tls.crt"))) {
    throw new MeshError(
      "install_failed",
      `directory ${directory} holds tls.crt, which istiod reads instead of ca-cert.pem`,
      {
        hint: "remove tls.crt, tls.key and ca.crt, or give the istiod-agent a directory of its own",
      },
    );
  }
}
