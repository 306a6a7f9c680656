import { createHash, randomBytes } from "node:crypto";
import { createWriteStream, existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { readFileIfExists, writeFileAtomic } from "../../../common/runtime/files.ts";
import { arranged, fileAt, textFile, type Entry } from "./entries.ts";
import { tarOf } from "./tar.ts";

const OCI = "application/vnd.oci.image";

/** Something in the store, as manifests refer to it. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** What a container of the image starts with. */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  /** `UID:GID`; empty is root. */
  readonly user?: string;
  readonly env?: readonly string[];
  readonly workingDirectory?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface Image {
  /** Full names under which it is imported. */
  readonly references: readonly string[];
  readonly manifest: Descriptor;
  /** All of its layers, unpacked. */
  readonly sizeBytes: number;
}

/**
 * A folder of blobs by digest. What is put in a second time is recognised by its content and not written again; layers
 * are kept plain, because they never cross a network.
 */
export class ImageStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Adds a layer of these entries; returns what a manifest says of it. Files that were read once are known again by
   * their place, size and dates.
   */
  async putLayer(entries: readonly Entry[]): Promise<Descriptor> {
    const all = arranged(entries);
    const note = join(this.#folder, `layer-${await fingerprintOf(all)}.json`);
    const noted = await readFileIfExists(note);
    const known = noted === undefined ? undefined : (JSON.parse(noted) as Descriptor);
    if (known && existsSync(this.#path(known.digest))) return known;
    const made = await this.#makeLayer(all);
    await writeFileAtomic(note, JSON.stringify(made));
    return made;
  }

  async #makeLayer(all: readonly Entry[]): Promise<Descriptor> {
    const hash = createHash("sha256");
    let size = 0;
    for await (const chunk of tarOf(all)) {
      hash.update(chunk);
      size += chunk.length;
    }
    const digest = `sha256:${hash.digest("hex")}`;
    if (!existsSync(this.#path(digest))) await this.#write(digest, Readable.from(tarOf(all)));
    return { mediaType: `${OCI}.layer.v1.tar`, digest, size };
  }

  /** Adds configuration and manifest of an image of these layers. */
  async putImage(
    references: readonly string[],
    layers: readonly Descriptor[],
    { entrypoint, user = "", env = [], workingDirectory = "/", labels = {} }: ImageConfig,
  ): Promise<Image> {
    const config = await this.#putJson(`${OCI}.config.v1+json`, {
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      os: "linux",
      config: { Entrypoint: entrypoint, User: user, Env: env, WorkingDir: workingDirectory, Labels: labels },
      rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) },
    });
    const mediaType = `${OCI}.manifest.v1+json`;
    const manifest = await this.#putJson(mediaType, { schemaVersion: 2, mediaType, config, layers });
    return { references, manifest, sizeBytes: layers.reduce((total, { size }) => total + size, 0) };
  }

  /** Removes what is older than `maxAgeMs` and belongs to none of these images: each build of ours leaves its layers. */
  async removeOthers(images: readonly Image[], maxAgeMs: number): Promise<void> {
    const kept = new Set<string>();
    for (const { manifest } of images) {
      for (const digest of await this.#blobsOf(manifest)) kept.add(basename(this.#path(digest)));
    }
    for (const file of await readdir(this.#folder)) {
      const path = join(this.#folder, file);
      const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now());
      if (!kept.has(file) && age > maxAgeMs) await rm(path, { force: true });
    }
  }

  /** The bytes of an archive of these images, each blob in it once, for `ctr images import -`. */
  async *archiveOf(images: readonly Image[]): AsyncGenerator<Buffer> {
    const manifests = images.flatMap(({ references, manifest }) =>
      references.map((name) => ({ ...manifest, annotations: { "io.containerd.image.name": name } })),
    );
    const digests = new Set<string>();
    for (const { manifest } of images) for (const digest of await this.#blobsOf(manifest)) digests.add(digest);
    yield* tarOf([
      textFile("oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" })),
      textFile("index.json", JSON.stringify({ schemaVersion: 2, manifests })),
      ...[...digests].map((digest) => fileAt(`blobs/${digest.replace(":", "/")}`, this.#path(digest), 0o644)),
    ]);
  }

  /** The files of an image's layers, the lowest first. */
  async layerFiles({ manifest }: Image): Promise<string[]> {
    const { layers } = await this.#manifest(manifest);
    return layers.map(({ digest }) => this.#path(digest));
  }

  async #blobsOf(manifest: Descriptor): Promise<string[]> {
    const { config, layers } = await this.#manifest(manifest);
    return [manifest.digest, config.digest, ...layers.map(({ digest }) => digest)];
  }

  async #manifest({ digest }: Descriptor): Promise<{ config: Descriptor; layers: Descriptor[] }> {
    return JSON.parse(await readFile(this.#path(digest), "utf8")) as { config: Descriptor; layers: Descriptor[] };
  }

  async #putJson(mediaType: string, value: object): Promise<Descriptor> {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    if (!existsSync(this.#path(digest))) await this.#write(digest, Readable.from([bytes]));
    return { mediaType, digest, size: (await stat(this.#path(digest))).size };
  }

  /** Under another name until it is whole, so that no killed run leaves half a blob. */
  async #write(digest: string, content: Readable): Promise<void> {
    const path = this.#path(digest);
    const unfinished = `${path}.${randomBytes(6).toString("hex")}`;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    try {
      await pipeline(content, createWriteStream(unfinished));
      await rename(unfinished, path);
    } finally {
      await rm(unfinished, { force: true });
    }
  }

  #path(digest: string): string {
    return join(this.#folder, digest.replace(":", "-"));
  }
}

async function fingerprintOf(entries: readonly Entry[]): Promise<string> {
  const hash = createHash("sha256");
  for (const entry of entries) {
    const place = entry.kind === "file" && typeof entry.source === "string" ? await stat(entry.source) : undefined;
    hash.update(JSON.stringify([entry, place?.dev, place?.ino, place?.size, place?.mtimeMs, place?.ctimeMs]));
  }
  return hash.digest("hex").slice(0, 32);
}
