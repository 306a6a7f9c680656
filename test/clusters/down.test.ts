import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { runCommand } from "../harness/command.ts";
import { eventually } from "../harness/wait.ts";
import { cgroupsNamed, entranceOf, makeCgroup, processesIn } from "./cgroups.ts";
import { attach, fleetDown, leftoversDown } from "./fleet.ts";
import { REFERENCES } from "./images/foreign.ts";
import { skipWithoutClusters } from "./needs.ts";
import { linksNamed } from "./network.ts";
import { findFleet, fleetsDirectory, type FleetPlan } from "./plan.ts";
import { fleetUp } from "./stages.ts";

const skip = skipWithoutClusters();
const options = { skip, timeout: 240_000 };
const MAIN = join(import.meta.dirname, "main.ts");

/** Of the whole machine: what a node's programs would like to change, and folders that they like to make. */
async function machine(): Promise<object> {
  const settings = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"];
  const folders = ["/run/netns", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/pods", "/etc/cni"];
  return {
    settings: await Promise.all(settings.map((name) => readFile(`/proc/sys/${name}`, "utf8"))),
    folders: folders.filter((folder) => existsSync(folder)),
    filters: await runCommand("nft", ["list", "ruleset"]),
  };
}

/** What is left of a fleet, by name; empty when nothing is. */
async function leftOf({ name, slot, bridge, directory }: FleetPlan): Promise<string[]> {
  const cgroup = `meshrelay-${slot}-`;
  const mounts = (await readFile("/proc/mounts", "utf8")).split("\n").filter((line) => line.includes(directory));
  const processes = await processesWhere(async (pid) => {
    const [groups, words] = await Promise.all(
      ["cgroup", "cmdline"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8")),
    );
    return groups?.includes(`/${cgroup}`) === true || words?.includes(directory) === true;
  });
  const folders = (await readdir(fleetsDirectory())).filter((each) => each === name);
  return [...mounts, ...processes, ...folders, ...(await cgroupsNamed(cgroup)), ...(await linksNamed(bridge))];
}

/** The processes of the machine that fit, as "pid words"; those that end meanwhile do not. */
async function processesWhere(fits: (pid: string) => Promise<boolean>): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name) && name !== String(process.pid));
  const found = await Promise.all(pids.map((pid) => fits(pid).catch(() => false)));
  return pids.filter((_, index) => found[index]).map((pid) => `process ${pid}`);
}

async function fleetNamed(name: string): Promise<FleetPlan> {
  const plan = await findFleet(name);
  assert.ok(plan, `no fleet ${name}`);
  return plan;
}

test("down - nothing is left of a cluster with pods, also when its programs were killed before", options, async () => {
  const name = `test-down-${process.pid}`;
  const before = await machine();
  await using down = { [Symbol.asyncDispose]: () => fleetDown(name) };
  assert.ok(down);
  const { clusters, plan } = await fleetUp({ name, count: 1, until: "base", onStep: () => undefined });
  const [one] = clusters;
  assert.ok(one);
  await one.kubectl(["run", "pod", `--image=${REFERENCES.busybox}`, "--", "/bin/sleep", "inf"]);
  await one.kubectl(["wait", "--for=condition=Ready", "pod/pod", "--timeout=60s"], { timeoutMs: 65_000 });
  const space = await readlink(`/proc/${one.node.pid}/ns/pid`);
  const inSpace = () => processesWhere(async (pid) => (await readlink(`/proc/${pid}/ns/pid`)) === space);
  assert.ok((await inSpace()).length >= 8, "the node's programs are not in its namespace");
  assert.notDeepEqual(await leftOf(plan), []);
  for (const program of ["kubelet", "containerd", "etcd"]) await one.node.stop(program, "KILL");
  await runCommand(process.execPath, [MAIN, "down", "--fleet", name]);
  assert.deepEqual(await leftOf(plan), []);
  // The kernel ends them; it takes its time on a busy machine.
  await eventually("end of all programs", async () => (await inSpace()).length === 0);
  assert.deepEqual(await machine(), before);
});

test("down - a cluster goes whole when its first program is killed, and up makes it again", options, async () => {
  const name = `test-again-${process.pid}`;
  await using down = { [Symbol.asyncDispose]: () => fleetDown(name) };
  assert.ok(down);
  const steps: string[] = [];
  const up = () => fleetUp({ name, count: 1, until: "base", onStep: (_, step) => void steps.push(step) });
  const first = (await up()).clusters[0];
  assert.ok(first);
  const space = await readlink(`/proc/${first.node.pid}/ns/pid`);
  process.kill(first.node.pid, "SIGKILL");
  await eventually("end of all programs", async () => {
    const left = await processesWhere(async (pid) => (await readlink(`/proc/${pid}/ns/pid`)) === space);
    return left.length === 0;
  });
  await assert.rejects(attach(name), /cluster-1 of test-again-\d+ does not run/);
  const second = (await up()).clusters[0];
  assert.notEqual(second?.node.pid, first.node.pid);
  steps.length = 0;
  const third = (await up()).clusters[0];
  assert.equal(third?.node.pid, second?.node.pid);
  assert.ok(steps.includes("node ready (was up)"), steps.join(", "));
});

test("down - what a killed up has made is taken down", options, async () => {
  const name = `test-killed-${process.pid}`;
  await using down = { [Symbol.asyncDispose]: () => fleetDown(name) };
  assert.ok(down);
  const args = [MAIN, "up", "--fleet", name, "--clusters", "1", "--until", "base"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) if (line.includes("API server ready")) break;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
  const plan = await fleetNamed(name);
  await runCommand(process.execPath, [MAIN, "down", "--fleet", name]);
  assert.deepEqual(await leftOf(plan), []);
});

test("down - what nobody has a record of is found by its name", options, async () => {
  const prefix = `mrt${process.pid}`;
  const others = await linksNamed("");
  await makeCgroup(`${prefix}-0-1`);
  await runCommand("ip", ["link", "add", prefix, "type", "bridge"]);
  const enter = ["-c", 'echo $$ >"$0" && exec sleep 600', await entranceOf(`${prefix}-0-1`)];
  const child = spawn("/bin/sh", enter, { stdio: "ignore" });
  const ended = once(child, "exit");
  await eventually("process in its cgroup", async () => (await processesIn(`${prefix}-0-1`)).has(child.pid ?? 0));
  await leftoversDown(prefix);
  await ended;
  assert.equal(child.signalCode, "SIGKILL");
  assert.deepEqual(await cgroupsNamed(prefix), []);
  assert.deepEqual(await linksNamed(prefix), []);
  assert.ok((await linksNamed("")).includes(others[0] ?? ""));
});

test("down - a fleet of a process that is killed is taken down without it", options, async () => {
  const name = `test-kept-${process.pid}`;
  await using down = { [Symbol.asyncDispose]: () => fleetDown(name) };
  assert.ok(down);
  const program = `import { downWhenWeEnd } from ${JSON.stringify(join(import.meta.dirname, "keeper.ts"))};
    import { fleetUp } from ${JSON.stringify(join(import.meta.dirname, "stages.ts"))};
    await downWhenWeEnd(${JSON.stringify(name)});
    await fleetUp({ name: ${JSON.stringify(name)}, count: 1, until: "base", onStep: (_, step) => console.log(step) });`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) if (line.includes("node started")) break;
  const plan = await fleetNamed(name);
  child.kill("SIGKILL");
  await eventually("take-down by the keeper", async () => (await leftOf(plan)).length === 0);
});
