import { runCommand } from "../harness/command.ts";
import { ensureTools } from "../tools/build.ts";
import { fetchFrom } from "./bookinfo.ts";
import type { Cluster } from "./cluster.ts";
import { GATEWAY_NODE_PORT } from "./istio.ts";
import { certificatesIn } from "./judge.ts";

const GATEWAY = {
  apiVersion: "networking.istio.io/v1",
  kind: "Gateway",
  metadata: { name: "crossing", namespace: "istio-system" },
  spec: {
    selector: { istio: "ingressgateway" },
    servers: [
      {
        port: { number: 15_443, name: "tls", protocol: "TLS" },
        tls: { mode: "AUTO_PASSTHROUGH" },
        hosts: ["*.bookinfo.svc.cluster.local"],
      },
    ],
  },
};

const STRICT = {
  apiVersion: "security.istio.io/v1",
  kind: "PeerAuthentication",
  metadata: { name: "default", namespace: "istio-system" },
  spec: { mtls: { mode: "STRICT" } },
};

/** Names `reviews` to a gateway that passes connections on unopened. */
const SNI = "outbound_.9080_._.reviews.bookinfo.svc.cluster.local";

/** Under this name a workload of one cluster reaches `reviews` of the other one. */
const hostOn = (cluster: Cluster): string => `reviews.bookinfo.svc.${cluster.name}.global`;

/** Strict mTLS in both clusters, and `reviews` of each reachable from the other through port 15443 of its gateway. */
export async function openCrossing(one: Cluster, two: Cluster): Promise<void> {
  await one.apply(GATEWAY, STRICT, ...routeTo(two));
  await two.apply(GATEWAY, STRICT, ...routeTo(one));
}

/** Takes it away again. */
export async function closeCrossing(one: Cluster, two: Cluster): Promise<void> {
  for (const [near, far] of [
    [one, two],
    [two, one],
  ] as const) {
    for (const { kind, metadata } of [GATEWAY, STRICT, ...routeTo(far)]) {
      await near.kubectl(["delete", kind, metadata.name, "--namespace", metadata.namespace, "--ignore-not-found"]);
    }
  }
}

/** What `reviews` of the far cluster answers to `productpage` of the near one; throws when no answer came. */
export const cross = (near: Cluster, far: Cluster): Promise<string> =>
  fetchFrom(near, "productpage", `http://${hostOn(far)}:9080/`);

/** The chain, leaf first, that `reviews` of a cluster shows to whoever comes through the gateway, by `openssl s_client`. */
export async function chainAtGateway(far: Cluster): Promise<string[]> {
  const { openssl } = await ensureTools(["openssl"]);
  const at = ["-connect", `${far.nodeAddress}:${GATEWAY_NODE_PORT}`, "-servername", SNI, "-alpn", "istio"];
  // Ends with an error: what it is let in for is a certificate of its own, which comes after the other's.
  const anyway = ["-c", '"$@" || true', "sh", openssl, "s_client", "-showcerts", ...at];
  return certificatesIn(await runCommand("sh", anyway));
}

function routeTo(far: Cluster) {
  const metadata = { name: `reviews-${far.name}`, namespace: "bookinfo" };
  const host = hostOn(far);
  return [
    {
      apiVersion: "networking.istio.io/v1",
      kind: "ServiceEntry",
      metadata,
      spec: {
        hosts: [host],
        location: "MESH_INTERNAL",
        resolution: "STATIC",
        ports: [{ number: 9080, name: "http", protocol: "HTTP" }],
        endpoints: [{ address: far.nodeAddress, ports: { http: GATEWAY_NODE_PORT } }],
      },
    },
    {
      apiVersion: "networking.istio.io/v1",
      kind: "DestinationRule",
      metadata,
      spec: {
        host,
        trafficPolicy: {
          tls: { mode: "ISTIO_MUTUAL", sni: SNI },
        },
      },
    },
  ];
}
