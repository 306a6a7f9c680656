import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSteps } from "./steps.ts";

const FENCE = "```";

test("guide steps - a block is a step with what the comment before it says", () => {
  const document = [
    "# Title",
    "  * a list",
    "    <!-- step: contexts given -->",
    `    ${FENCE}shell`,
    "    A=1",
    `    ${FENCE}`,
    "## Part",
    "<!-- step: mesh file=mesh.yaml -->",
    `${FENCE}yaml`,
    "kind: Mesh",
    "",
    FENCE,
    `${FENCE}sh no-test`,
    "shown only",
    FENCE,
    "<!-- step: istiod tab=kind -->",
    `${FENCE}shell`,
    "patch",
    "# a comment and no heading",
    FENCE,
    "<!-- step: diff output=none within=60s -->",
    "",
    `${FENCE}shell`,
    "diff",
    FENCE,
  ].join("\n");
  assert.deepEqual(parseSteps(document, "x.md"), [
    { name: "contexts", section: "Title", line: 5, text: "A=1\n", isGiven: true, isSilent: false, withinMs: 0 },
    {
      name: "mesh",
      section: "Part",
      line: 10,
      text: "kind: Mesh\n\n",
      isGiven: false,
      isSilent: false,
      withinMs: 0,
      file: "mesh.yaml",
    },
    {
      ...{ name: "istiod", section: "Part", line: 18, text: "patch\n# a comment and no heading\n", tab: "kind" },
      ...{ isGiven: false, isSilent: false, withinMs: 0 },
    },
    { name: "diff", section: "Part", line: 24, text: "diff\n", isGiven: false, isSilent: true, withinMs: 60_000 },
  ]);
});

const FAULTY: Readonly<Record<string, string>> = {
  [`text\n${FENCE}shell\nls\n${FENCE}`]: "x.md:2: a shell block that is no step",
  [`<!-- step: a -->\ntext\n${FENCE}sh\nls\n${FENCE}`]: "x.md:1: a mark without a block",
  [`<!-- step: a slow=yes -->\n${FENCE}shell\nls\n${FENCE}`]:
    "x.md:2: a mark that is not understood: <!-- step: a slow=yes -->",
  [`<!-- step: A -->\n${FENCE}shell\nls\n${FENCE}`]: "x.md:2: a mark that is not understood: <!-- step: A -->",
  [`<!-- step: a -->\n${FENCE}shell\nls\n`]: "x.md:2: the block has no end",
};

test("guide steps - what cannot be walked is named with its line", () => {
  for (const [document, message] of Object.entries(FAULTY)) {
    assert.throws(() => parseSteps(document, "x.md"), { code: "invalid_argument", message }, document);
  }
});
