import { join } from "node:path";
import { ensureTools } from "../../tools/build.ts";
import { copied, fileAt, folderAt, librariesOf, linkAt, textFile, type Entry } from "./entries.ts";
import { shell } from "./shell.ts";
import type { Image, ImageConfig, ImageStore } from "./store.ts";

/** The programs inside these images, for `skipWithout`. */
export const IMAGE_TOOLS = [
  ...(["busybox", "xtables", "vault", "vault-plugin-auth-kubernetes"] as const),
  ...(["pilot-discovery", "pilot-agent", "envoy", "istio-files"] as const),
] as const;

type Tools = Readonly<Record<(typeof IMAGE_TOOLS)[number], string>>;

/** Names as manifests and charts have them. */
export const REFERENCES = {
  pause: "registry.k8s.io/pause:3.10",
  busybox: "docker.io/library/busybox:1.35",
  vault: "docker.io/hashicorp/vault:1.21.0",
  pilot: "docker.io/istio/pilot:1.31.0",
  proxy: "docker.io/istio/proxyv2:1.31.0",
} as const;

/** The services of bookinfo; our small server stands in for all of them. */
export const BOOKINFO = ["productpage", "details", "reviews", "ratings"] as const;

/** The image of one of them, as Istio's own sample names it. */
export const bookinfoReference = (service: (typeof BOOKINFO)[number]): string =>
  `docker.io/istio/examples-bookinfo-${service}-v1:1.20.3`;

interface Recipe extends ImageConfig {
  readonly references: readonly string[];
  readonly entries: (tools: Tools) => Promise<Entry[]>;
}

const ISTIO_USER = "1337:1337";
const ENVOY_TEMPLATE = "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json";
const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const XTABLES_MODULES = "/usr/lib/x86_64-linux-gnu/xtables";

const RECIPES: readonly Recipe[] = [
  {
    // containerd kills it, so nothing has to listen to signals.
    references: [REFERENCES.pause],
    entrypoint: ["/bin/busybox", "sleep", "inf"],
    entries: shell,
  },
  { references: [REFERENCES.busybox], entrypoint: ["/bin/sh"], env: [PATH], entries: shell },
  {
    references: BOOKINFO.map(bookinfoReference),
    entrypoint: ["/bin/bookinfo"],
    env: [PATH],
    entries: async () => [
      ...(await shell()),
      ...(await copied(join(import.meta.dirname, "bookinfo.sh"), "/bin/bookinfo")),
      folderAt("/tmp", 0o1777),
    ],
  },
  {
    references: [REFERENCES.vault],
    entrypoint: ["/bin/vault"],
    env: [PATH],
    // `vault auth enable kubernetes` finds the plug-in by its file name.
    entries: async (tools) => [
      ...(await shell()),
      fileAt("/bin/vault", tools.vault),
      fileAt("/plugins/kubernetes", tools["vault-plugin-auth-kubernetes"]),
      folderAt("/tmp", 0o1777),
    ],
  },
  {
    references: [REFERENCES.pilot],
    entrypoint: ["/usr/local/bin/pilot-discovery"],
    user: ISTIO_USER,
    env: [PATH],
    entries: async (tools) => [...(await shell()), fileAt("/usr/local/bin/pilot-discovery", tools["pilot-discovery"])],
  },
  {
    references: [REFERENCES.proxy],
    entrypoint: ["/usr/local/bin/pilot-agent"],
    user: ISTIO_USER,
    env: [PATH, `ISTIO_BOOTSTRAP=${ENVOY_TEMPLATE}`],
    entries: proxyEntries,
  },
];

/** Istio's agent, upstream Envoy, Istio's template for it, and the iptables of the init container. */
async function proxyEntries(tools: Tools): Promise<Entry[]> {
  const template = join(tools["istio-files"], "tools/packaging/common/envoy_bootstrap.json");
  const variants = ["", "-nft", "-save", "-restore", "-nft-save", "-nft-restore"];
  const iptables = ["iptables", "ip6tables"].flatMap((name) => variants.map((variant) => `${name}${variant}`));
  const modules = (await copied(XTABLES_MODULES, XTABLES_MODULES)).filter(({ path }) => !path.endsWith("libarpt.so"));
  return [
    ...(await shell()),
    fileAt("/usr/local/bin/pilot-agent", tools["pilot-agent"]),
    fileAt("/usr/local/bin/envoy", tools.envoy),
    fileAt(ENVOY_TEMPLATE, template, 0o644),
    fileAt("/usr/sbin/xtables-nft-multi", tools.xtables),
    ...iptables.map((name) => linkAt(`/usr/sbin/${name}`, "xtables-nft-multi")),
    ...modules,
    ...(await librariesOf(tools.envoy)),
    ...(await librariesOf(tools.xtables)),
    // The protocols that rules of iptables name.
    textFile("/etc/protocols", "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n"),
  ];
}

/** Assembles the images of everything that is not ours. Builds programs if need be. */
export async function assembleForeign(store: ImageStore): Promise<Image[]> {
  const tools = await ensureTools(IMAGE_TOOLS);
  return Promise.all(
    RECIPES.map(async ({ references, entries, ...config }) =>
      store.putImage(references, [await store.putLayer(await entries(tools))], config),
    ),
  );
}
