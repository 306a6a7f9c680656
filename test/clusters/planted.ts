/** A secret planted in each kind of place, to prove that the search sees it there. */
import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Cluster } from "./cluster.ts";
import { folderOf, ourContainers, podsWithOurs } from "./places.ts";
import { opensslRequest } from "../harness/openssl.ts";

/** What is planted, by what messages call it. */
export interface Planted extends AsyncDisposable {
  readonly secrets: Readonly<Record<string, string>>;
  /** Where it stands: each of these patterns must be found. */
  readonly places: readonly RegExp[];
}

const NAME = "planted";

const derOf = (pem: string): Buffer =>
  Buffer.from(
    pem
      .split("\n")
      .filter((line) => !line.startsWith("-"))
      .join(""),
    "base64",
  );

/** Plants a key, a token, and a token that is gone again from where it stood; takes all away again that can be taken away when it is disposed. */
export async function plant(cluster: Cluster): Promise<Planted> {
  const { key } = await opensslRequest(NAME);
  const token = `hvs.${randomBytes(48).toString("base64url")}`;
  const former = `hvs.${randomBytes(48).toString("base64url")}`;
  const packed = gzipSync(`{"manifest": ${JSON.stringify(key)}}`).toString("base64");
  const object = (kind: string, rest: object) => ({
    apiVersion: "v1",
    kind,
    metadata: { name: NAME, namespace: "default" },
    ...rest,
  });
  const account = (annotations: object) =>
    object("ServiceAccount", { metadata: { name: NAME, namespace: "default", annotations } });
  await cluster.apply(account({ token: former }));
  await cluster.apply(
    object("Secret", { data: { release: Buffer.from(packed).toString("base64") } }),
    object("ConfigMap", { data: { plain: key }, binaryData: { der: derOf(key).toString("base64") } }),
    account({ token }),
  );
  const files = await plantFiles(cluster, token);
  return {
    secrets: { "planted key": key, "planted token": token, "planted former token": former },
    places: [
      ...[/key in .*: etcd \/registry\/secrets\/default\/planted/, /key in .*: secrets$/, /key in .*: configmaps$/],
      ...[/key in .*: etcd \/registry\/configmaps\/default\/planted/],
      ...[/token in .*: etcd \/registry\/serviceaccounts\/default\/planted/],
      ...[/former token in .*: etcd file member\/snap/, /former token in .*: etcd file member\/wal/],
      ...[/token in .*: log gloo-mesh_enterprise-agent/, /token in .*: file of enterprise-agent \//],
      ...[/token in .*: file of istiod-agent \//, /token in .*: file of istiod-agent-init \//],
      /token in .*: file of istiod-.* \/volumes\//,
    ],
    [Symbol.asyncDispose]: async () => {
      for (const file of files) await rm(file, { force: true });
      await cluster.kubectl(["delete", `secret/${NAME}`, `configmap/${NAME}`, `serviceaccount/${NAME}`]);
    },
  };
}

/** In what containers of ours have written over their images, in a volume on disk, and in what one of them logs. */
async function plantFiles(cluster: Cluster, token: string): Promise<string[]> {
  const containers = await ourContainers(cluster);
  const istiod = (await podsWithOurs(cluster)).find(({ metadata }) => metadata.name.startsWith("istiod-"));
  if (!istiod) throw new Error("there is no istiod");
  const files = [
    ...containers.map(({ written }) => join(written, NAME)),
    join(folderOf(cluster, istiod), "volumes", NAME),
  ];
  for (const file of files) await writeFile(file, token);
  const log = { namespace: "gloo-mesh", pod: "deploy/enterprise-agent" };
  await cluster.exec(log, ["sh", "-c", 'echo "$0" >/proc/1/fd/1', token]);
  return files;
}
