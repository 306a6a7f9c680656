import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { runCommand } from "../harness/command.ts";
import type { Node } from "./node.ts";
import { PREFIX, type FleetPlan } from "./plan.ts";

/** Makes the bridge that joins the host with the nodes of a fleet; again is harmless. */
export async function makeBridge({ bridge, hostAddress }: FleetPlan): Promise<void> {
  if (!existsSync(`/sys/class/net/${bridge}`)) await ip("link", "add", bridge, "type", "bridge");
  await ip("addr", "replace", `${hostAddress}/24`, "dev", bridge);
  await ip("link", "set", bridge, "up");
}

/** Joins a node to the bridge. What its pods send to others than pods and Services leaves under the node's address. */
export async function joinNetwork(node: Node, { bridge, hostAddress }: FleetPlan): Promise<void> {
  const { link, nodeAddress, podRange } = node.plan;
  await ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", String(node.pid));
  await ip("link", "set", link, "master", bridge, "up");
  const script = [
    "ip link set lo up",
    `ip addr add ${nodeAddress}/24 dev eth0`,
    "ip link set eth0 up",
    `ip route add default via ${hostAddress}`,
    "echo 1 >/proc/sys/net/ipv4/ip_forward",
    "nft -f -",
  ].join(" && ");
  const leaving = `ip saddr ${podRange} oifname "eth0" masquerade`;
  const table = `table ip ${PREFIX} { chain leaving { type nat hook postrouting priority srcnat; ${leaving}; }; }`;
  await node.run("/bin/sh", ["-c", script], { stdin: table });
}

/** Removes a link where there is one; its other end goes with it. */
export async function removeLink(name: string): Promise<void> {
  if (!existsSync(`/sys/class/net/${name}`)) return;
  // The kernel may be removing it itself, with the node's namespace.
  await ip("link", "delete", name).catch((error: unknown) => {
    if (existsSync(`/sys/class/net/${name}`)) throw error;
  });
}

/** Links and bridges of fleets, known or not. */
export async function linksNamed(prefix: string): Promise<string[]> {
  return (await readdir("/sys/class/net")).filter((name) => name.startsWith(prefix));
}

async function ip(...args: readonly string[]): Promise<void> {
  await runCommand("ip", args);
}
