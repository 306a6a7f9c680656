import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MeshError } from "../../common/runtime/errors.ts";
import { runShell, type ShellOutcome } from "./shell.ts";
import { faultOf } from "./walk.ts";
import { prepareWorkplace, type Workplace } from "./workplace.ts";

const ground = {
  title: "two clusters",
  contexts: ["one", "two"],
  kubeconfig: undefined,
  vaultManifest: undefined,
  loadBalancer: undefined,
  istioFlags: ["--set", "hub=docker.io/istio"],
  programs: { kubectl: "/bin/echo", istioctl: "/bin/echo" },
} as const;

async function withPlace(work: (place: Workplace) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "guide-"));
  try {
    await work(await prepareWorkplace(join(folder, "work"), ground, true));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const run = (place: Workplace, text: string, signal = new AbortController().signal): Promise<ShellOutcome> =>
  runShell(place, { text, timeoutMs: 20_000, onLine: () => undefined }, signal);

test("guide shell - variables go from step to step, files lie in a folder that nobody else may enter", async () => {
  await withPlace(async (place) => {
    assert.equal((await stat(place.directory)).mode & 0o777, 0o700);
    assert.equal((await run(place, "A='two words'\nexport B=$CONTEXT_1\necho kept > file")).code, 0);
    const { stdout } = await run(place, 'printf "%s/%s/%s/" "$A" "$B" "$CONTEXT_2"; cat file');
    assert.equal(stdout, "two words/one/two/kept");
    assert.doesNotMatch(await readFile(place.variables, "utf8"), /CONTEXT_|^declare -x PATH=/m);
  });
});

test("guide shell - the first command that fails ends the step, in a loop and in a pipe too", async () => {
  await withPlace(async (place) => {
    for (const text of ["false\necho on", "for x in 1 2; do false; echo on; done", "false | cat\necho on"]) {
      assert.deepEqual(
        [await run(place, text)].map(({ code, stdout }) => [code, stdout]),
        [[1, ""]],
        text,
      );
    }
  });
});

test("guide shell - what a step started ends with it when it takes too long or the walk is ended", async () => {
  await withPlace(async (place) => {
    const slow = { text: "sleep 600 | cat", timeoutMs: 200, onLine: () => undefined };
    assert.equal((await runShell(place, slow, new AbortController().signal)).timedOut, true);
    const stop = new AbortController();
    const ended = runShell(
      place,
      { text: "echo up; sleep 600", timeoutMs: 20_000, onLine: () => stop.abort(new MeshError("canceled", "stop")) },
      stop.signal,
    );
    await assert.rejects(ended, { code: "canceled" });
  });
});

test("guide shell - istioctl gets its further flags when it installs, and only then", async () => {
  await withPlace(async (place) => {
    const { stdout } = await run(place, "istioctl manifest install -y\nistioctl version\nkubectl get pods");
    assert.equal(stdout, "manifest install -y --set hub=docker.io/istio\nversion\nget pods");
  });
});

test("guide shell - a step is faulty when it fails, takes too long, or prints what should not be there", () => {
  const fine = { code: 0, stdout: "", timedOut: false };
  assert.equal(faultOf({ isSilent: true }, fine, 1000), undefined);
  assert.equal(faultOf({ isSilent: false }, { ...fine, stdout: "x" }, 1000), undefined);
  assert.match(faultOf({ isSilent: true }, { ...fine, stdout: "x" }, 1000) ?? "", /should print nothing/);
  assert.equal(faultOf({ isSilent: false }, { ...fine, code: 3 }, 1000), "ended with 3");
  assert.equal(faultOf({ isSilent: false }, { ...fine, code: null, timedOut: true }, 1000), "did not end within 1 s");
});
