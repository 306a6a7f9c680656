import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runCommand } from "../harness/command.ts";
import { MUTANTS } from "./mutants.ts";

/** The rarest shows itself after 800. */
const SCHEDULES = "2000";

const here = (name: string): string => `${import.meta.dirname}/${name}`;

describe("simulation of mutants", { concurrency: 2 }, () => {
  for (const { name, found } of MUTANTS) {
    test(`simulation - finds it when ${name}`, async () => {
      const args = ["--import", here("mutate.ts"), here("main.ts"), "1", SCHEDULES];
      const options = { env: { MUTANT: name }, timeoutMs: 280_000 };
      await assert.rejects(runCommand(process.execPath, args, options), { message: found });
    });
  }
});
