import { readFile, stat } from "node:fs/promises";
import { basename, join, posix } from "node:path";
import { MeshError } from "../../../common/runtime/errors.ts";
import { VERSION } from "../../../common/runtime/version.ts";
import { interpretDockerfile, type Copy } from "./dockerfile.ts";
import { copied, fileAt, folderAt, librariesOf, type Entry } from "./entries.ts";
import { shell } from "./shell.ts";
import type { Descriptor, Image, ImageStore } from "./store.ts";

const REPOSITORY = join(import.meta.dirname, "../../..");
const DOCKERFILE = join(REPOSITORY, "deploy/images/Dockerfile");
const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Our programs that run in pods; each is a target of `deploy/images/Dockerfile`. */
export const OUR_IMAGES = ["enterprise-networking", "enterprise-agent", "istiod-agent", "meshctl"] as const;

/** The name under which charts and the guide refer to an image of ours. */
export const ourReference = (name: (typeof OUR_IMAGES)[number]): string => `gcr.io/gloo-mesh/${name}:${VERSION}`;

/** Assembles our images from dist/ as `deploy/images/Dockerfile` says. Throws `failed_precondition` before a build. */
export async function assembleOurs(store: ImageStore): Promise<Image[]> {
  const text = await readFile(DOCKERFILE, "utf8");
  const base = await store.putLayer(await nodeBase());
  const layerOf = remembered(async (copies: readonly Copy[]) => store.putLayer(await entriesOf(copies)));
  return Promise.all(
    OUR_IMAGES.map(async (name) => {
      const stage = interpretDockerfile(text, { target: name, args: { VERSION } });
      const layers: Descriptor[] = [base];
      for (const copies of stage.layers) layers.push(await layerOf(copies));
      const env = [PATH, ...Object.entries(stage.env).map(([variable, value]) => `${variable}=${value}`)];
      return store.putImage([ourReference(name)], layers, { ...stage, env });
    }),
  );
}

/** In place of the public image of Node: its program as npm installed it here, what that needs, and a shell. */
async function nodeBase(): Promise<Entry[]> {
  const node = join(REPOSITORY, "node_modules/node/bin/node");
  const authorities = "/etc/ssl/certs/ca-certificates.crt";
  const hasAuthorities = await stat(authorities).then(
    () => true,
    () => false,
  );
  return [
    ...(await shell()),
    ...(await librariesOf(node)),
    fileAt("/usr/local/bin/node", node),
    ...(hasAuthorities ? [fileAt(authorities, authorities, 0o644)] : []),
    folderAt("/tmp", 0o1777),
  ];
}

/** The entries that COPYs make: of a folder its contents, of a file itself. */
async function entriesOf(copies: readonly Copy[]): Promise<Entry[]> {
  const entries = copies.flatMap(({ sources, destination }) =>
    sources.map(async (source) => {
      const path = join(REPOSITORY, source);
      const isFolder = (await found(path, source)).isDirectory();
      const into = destination.endsWith("/") && !isFolder ? posix.join(destination, basename(source)) : destination;
      return copied(path, into);
    }),
  );
  return (await Promise.all(entries)).flat();
}

async function found(path: string, source: string) {
  try {
    return await stat(path);
  } catch (cause) {
    const hint = source.startsWith("dist/") ? "run npm run build" : "run npm ci";
    throw new MeshError("failed_precondition", `the image of ours needs ${source}, which is not there`, {
      cause,
      hint,
    });
  }
}

/** Stages share the layers of the stages below them. */
function remembered<K, V>(make: (key: K) => Promise<V>): (key: K) => Promise<V> {
  const known = new Map<string, Promise<V>>();
  return (key) => {
    const name = JSON.stringify(key);
    const value = known.get(name) ?? make(key);
    known.set(name, value);
    return value;
  };
}
