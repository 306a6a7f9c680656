import assert from "node:assert/strict";
import { createWriteStream, existsSync } from "node:fs";
import { mkdir, readdir, utimes, writeFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { runCommand } from "../../harness/command.ts";
import { temporaryFolder } from "../../harness/folder.ts";
import { skipBecause } from "../../harness/needs.ts";
import { findInstalled } from "../../tools/registry.ts";
import { arranged, copied, fileAt, folderAt, linkAt, textFile } from "./entries.ts";
import { assembleOurs, ourReference } from "./ours.ts";
import { ImageStore, type Descriptor } from "./store.ts";
import { headerOf, tarOf } from "./tar.ts";

async function withArchive(entries: Parameters<typeof arranged>[0], use: (file: string) => Promise<void>) {
  await using folder = await temporaryFolder();
  const file = folder.file("x.tar");
  await pipeline(Readable.from(tarOf(arranged(entries))), createWriteStream(file));
  await use(file);
}

test("images - tar reads what we write: modes, links, long paths, folders above", async () => {
  const long = `${"d".repeat(90)}/${"e".repeat(60)}/f.txt`;
  const entries = [
    textFile(long, "deep"),
    linkAt("/bin/ls", "busybox"),
    folderAt("/tmp", 0o1777),
    textFile("a", "x", 0o755),
  ];
  await withArchive(entries, async (file) => {
    const lines = (await runCommand("tar", ["--list", "--verbose", "--file", file])).trim().split("\n");
    const words = lines.map((line) => line.split(/\s+/));
    const found = Object.fromEntries<string>(
      words.map(([mode = "", owner = "", , , , path = ""]) => [path, `${mode} ${owner}`] as const),
    );
    assert.deepEqual(found, {
      a: "-rwxr-xr-x 0/0",
      "bin/": "drwxr-xr-x 0/0",
      "bin/ls": "lrwxrwxrwx 0/0",
      [`${"d".repeat(90)}/`]: "drwxr-xr-x 0/0",
      [`${"d".repeat(90)}/${"e".repeat(60)}/`]: "drwxr-xr-x 0/0",
      [long]: "-rw-r--r-- 0/0",
      "tmp/": "drwxrwxrwt 0/0",
    });
    assert.equal(await runCommand("tar", ["--extract", "--to-stdout", "--file", file, long]), "deep");
  });
  assert.throws(() => headerOf(textFile("x".repeat(300), ""), 0), /too long for a tar archive/);
});

test("images - equal content gives equal layers, whatever its dates and places", async () => {
  await using folder = await temporaryFolder();
  const store = new ImageStore(folder.file("store"));
  const layers: Descriptor[] = [];
  for (const place of ["one", "two"]) {
    await mkdir(folder.file(place, "sub"), { recursive: true });
    await writeFile(folder.file(place, "sub", "x"), "same", { mode: place === "one" ? 0o600 : 0o644 });
    layers.push(await store.putLayer(await copied(folder.file(place), "/here")));
  }
  assert.deepEqual(layers[0], layers[1]);
  const other = await store.putLayer([fileAt("/here/sub/x", folder.file("one", "sub", "x"), 0o755)]);
  assert.notEqual(other.digest, layers[0]?.digest);
  const blobs = (await readdir(folder.file("store"))).filter((name) => name.startsWith("sha256-"));
  assert.equal(blobs.length, 2);
});

test("images - a file that was changed in place makes another layer", async () => {
  await using folder = await temporaryFolder();
  const store = new ImageStore(folder.file("store"));
  await writeFile(folder.file("x"), "one");
  const before = await store.putLayer([fileAt("/x", folder.file("x"))]);
  await writeFile(folder.file("x"), "two");
  assert.notDeepEqual(await store.putLayer([fileAt("/x", folder.file("x"))]), before);
});

test("images - layers of no image go when they are old, those of images stay", async () => {
  await using folder = await temporaryFolder();
  const store = new ImageStore(folder.file("store"));
  const image = await store.putImage(["x:1"], [await store.putLayer([textFile("a", "a")])], { entrypoint: [] });
  const { digest } = await store.putLayer([textFile("b", "b")]);
  await store.removeOthers([image], 3_600_000);
  assert.ok((await readdir(folder.file("store"))).includes(digest.replace(":", "-")));
  await utimes(folder.file("store", digest.replace(":", "-")), new Date(0), new Date(0));
  await store.removeOthers([image], 3_600_000);
  assert.ok(!(await readdir(folder.file("store"))).includes(digest.replace(":", "-")));
  assert.equal((await store.layerFiles(image)).every(existsSync), true);
});

test("images - an archive has an image under all of its names, and each layer once", async () => {
  await using folder = await temporaryFolder();
  const store = new ImageStore(folder.file("store"));
  const shared = await store.putLayer([textFile("a", "a")]);
  const own = await store.putLayer([textFile("b", "b")]);
  const images = [
    await store.putImage(["x:1", "y:1"], [shared], { entrypoint: ["/a"] }),
    await store.putImage(["z:1"], [shared, own], { entrypoint: ["/a"] }),
  ];
  const file = folder.file("images.tar");
  await pipeline(Readable.from(store.archiveOf(images)), createWriteStream(file));
  const names = (await runCommand("tar", ["--list", "--file", file])).trim().split("\n");
  // Two layers, two configurations, two manifests.
  assert.equal(names.filter((name) => name.startsWith("blobs/")).length, 6);
  const index = await runCommand("tar", ["--extract", "--to-stdout", "--file", file, "index.json"]);
  const { manifests } = JSON.parse(index) as { manifests: { annotations: Record<string, string> }[] };
  assert.deepEqual(
    manifests.map(({ annotations }) => annotations["io.containerd.image.name"]),
    ["x:1", "y:1", "z:1"],
  );
});

const skip =
  process.platform === "linux" && findInstalled(["busybox"]) ? false : skipBecause("images: need Linux and busybox");

test("images - ours run with what is in them alone", { skip }, async () => {
  await using folder = await temporaryFolder();
  const store = new ImageStore(folder.file("store"));
  const images = await assembleOurs(store);
  const meshctl = images.find(({ references }) => references[0] === ourReference("meshctl"));
  assert.ok(meshctl);
  const root = folder.file("root");
  await mkdir(root);
  for (const layer of await store.layerFiles(meshctl)) {
    await runCommand("tar", ["--extract", "--no-same-owner", "--file", layer, "--directory", root]);
  }
  const run = ["--user", "--map-root-user", `--root=${root}`, "/usr/local/bin/node", "/app/meshctl.js", "--version"];
  assert.match(await runCommand("unshare", run), /^\d+\.\d+\.\d+$/m);
});
