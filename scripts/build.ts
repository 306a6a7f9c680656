/** Bundles the programs into dist/: what ships, and what the demo runs. */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import { NODE_FLAGS, PROGRAMS } from "./programs.ts";

/** Files that libraries read beside themselves at run time; they stay packages. */
const EXTERNAL = ["@grpc/reflection", "grpc-health-check", "@grpc/proto-loader"];

/** grpc-js reads channelz.proto at `${__dirname}/../../proto`; bundled, it finds it below this folder of dist/. */
const GRPC_FILES = "grpc-js";

const BANNER =
  "if(+process.versions.node.split('.')[0]<24){console.error('error: Node 24 or newer is needed, this is '+process.version+" +
  "'\\nhint: npm ci has installed one: export PATH=\"$PWD/node_modules/.bin:$PATH\"');process.exit(2)}" +
  "import{createRequire as _createRequire}from'node:module';const require=_createRequire(import.meta.url);" +
  `const __dirname=import.meta.dirname+'/${GRPC_FILES}/build/src';`;

/** Bundles entry points, by name of the file they become, into `outDir`; returns esbuild's metafile. */
export async function bundle(entryPoints: Readonly<Record<string, string>>, outDir: string) {
  const { metafile } = await build({
    entryPoints: Object.entries(entryPoints).map(([out, source]) => ({ out, in: source })),
    outdir: outDir,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node24",
    minify: true,
    keepNames: true,
    sourcemap: "linked",
    external: EXTERNAL,
    banner: { js: BANNER },
    metafile: true,
    logLevel: "warning",
  });
  return metafile;
}

const firstLine = (flags: readonly string[]): string =>
  flags.length > 0 ? `#!/usr/bin/env -S node ${flags.join(" ")}` : "#!/usr/bin/env node";

/** Builds into `outDir` and returns esbuild's metafile, which says what is inside which bundle. */
export async function buildPrograms(outDir: string) {
  rmSync(outDir, { recursive: true, force: true });
  mkdirSync(outDir, { recursive: true });
  const metafile = await bundle(PROGRAMS, outDir);
  for (const name of Object.keys(PROGRAMS)) {
    const file = `${outDir}/${name}.js`;
    const source = readFileSync(file, "utf8");
    writeFileSync(file, `${firstLine(NODE_FLAGS[name] ?? [])}\n${source}`);
    chmodSync(file, 0o755);
  }
  mkdirSync(`${outDir}/${GRPC_FILES}/proto`, { recursive: true });
  copyFileSync("node_modules/@grpc/grpc-js/proto/channelz.proto", `${outDir}/${GRPC_FILES}/proto/channelz.proto`);
  copyFileSync("proto/gen/descriptors.binpb", `${outDir}/descriptors.binpb`);
  return metafile;
}

/** Builds beside `outDir` and takes its place at once: whoever runs a program of it meanwhile finds the old or the new one. */
async function replacePrograms(outDir: string): Promise<void> {
  const [fresh, old] = ["new", "old"].map((name) => `${outDir}.${process.pid}.${name}`) as [string, string];
  try {
    await buildPrograms(fresh);
    mkdirSync(outDir, { recursive: true });
    renameSync(outDir, old);
    renameSync(fresh, outDir);
  } finally {
    for (const folder of [fresh, old]) rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) await replacePrograms("dist");
