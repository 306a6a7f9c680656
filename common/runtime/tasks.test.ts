import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { MeshError } from "./errors.ts";
import { joinTasks, runTasks, type Task } from "./tasks.ts";

const untilAborted: Task = async (signal) => {
  if (!signal.aborted) await once(signal, "abort");
};

test("tasks - the first failure cancels the others, all are awaited, and its cause is thrown with its name", async () => {
  const ended: string[] = [];
  const slow: Task = async (signal) => {
    await untilAborted(signal);
    ended.push("slow");
  };
  const failing: Task = () => Promise.reject(new MeshError("port_in_use", "taken", { hint: "use another" }));
  await assert.rejects(runTasks(new AbortController().signal, { slow, failing }), (error: MeshError) => {
    assert.deepEqual([error.code, error.message, error.hint], ["port_in_use", "failing: taken", "use another"]);
    return true;
  });
  assert.deepEqual(ended, ["slow"]);
});

test("tasks - a task that returns while nobody asked it to has failed", async () => {
  const short: Task = () => Promise.resolve();
  await assert.rejects(
    runTasks(new AbortController().signal, { short, untilAborted }),
    /short: ended without being asked/,
  );
});

test("tasks - an abort from outside ends all of them without an error, whatever they throw then", async () => {
  const controller = new AbortController();
  const throwing: Task = async (signal) => {
    await untilAborted(signal);
    signal.throwIfAborted();
  };
  const running = runTasks(controller.signal, { throwing, untilAborted });
  controller.abort(new MeshError("canceled", "stop"));
  await running;
});

test("tasks - rooms that name a task alike are a fault, instead of one task that never runs", () => {
  const [one, other]: Task[] = [() => Promise.resolve(), () => Promise.resolve()];
  assert.ok(one && other);
  assert.deepEqual(joinTasks({ one }, { other }), { one, other });
  assert.throws(() => joinTasks({ sessions: one }, { sessions: other }), {
    code: "internal",
    message: /named sessions/,
  });
});
