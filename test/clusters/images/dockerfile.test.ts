import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { NODE_FLAGS } from "../../../scripts/programs.ts";
import { interpretDockerfile } from "./dockerfile.ts";
import { OUR_IMAGES } from "./ours.ts";

const ours = await readFile(join(import.meta.dirname, "../../../deploy/images/Dockerfile"), "utf8");

const small = `
ARG BASE=node
FROM \${BASE} AS below
# a remark
ARG VERSION=0
LABEL a="one two" \\
      b=$VERSION
WORKDIR /app
COPY x.js y.js ./
FROM below AS above
ENV C=d
WORKDIR sub
COPY z ./z
USER 1:2
ENTRYPOINT ["node", "x.js"]
`;

test("images - a stage has what those below it have, and its own layer", () => {
  assert.deepEqual(interpretDockerfile(small, { target: "above", args: { VERSION: "1.2" } }), {
    layers: [[{ sources: ["x.js", "y.js"], destination: "/app/" }], [{ sources: ["z"], destination: "/app/sub/z" }]],
    entrypoint: ["node", "x.js"],
    user: "1:2",
    env: { C: "d" },
    labels: { a: "one two", b: "1.2" },
    workingDirectory: "/app/sub",
  });
  assert.equal(interpretDockerfile(small, { target: "below" }).labels["b"], "0");
});

const REFUSED: Readonly<Record<string, RegExp>> = {
  "RUN make": /line 2: RUN: this instruction is not known/,
  "COPY --chown=1:2 a b": /line 2: COPY: flags are not known/,
  "COPY ../a b": /line 2: COPY: a source must lie in the build context/,
  "COPY /a b": /line 2: COPY: a source must lie in the build context/,
  "COPY a b c": /line 2: COPY: several sources want a folder/,
  "COPY a": /line 2: COPY: want sources and a destination/,
  "USER $WHO": /line 2: USER: \$WHO is not declared/,
  "ENTRYPOINT node x.js": /line 2: ENTRYPOINT: want \["program", "argument"\]/,
  "ENV a b": /line 2: ENV: want name=value/,
  "ARG a b": /line 2: ARG: want NAME/,
  "FROM a": /line 2: FROM: want FROM base AS name/,
};

test("images - what the interpreter does not know is refused with its line", () => {
  for (const [line, reason] of Object.entries(REFUSED)) {
    assert.throws(() => interpretDockerfile(`FROM a AS b\n${line}\n`, { target: "b" }), reason, line);
  }
  assert.throws(() => interpretDockerfile("COPY a b\n", { target: "b" }), /line 1: COPY: only ARG may stand before/);
  assert.throws(() => interpretDockerfile(small, { target: "c" }), /no stage c, want one of below, above/);
});

test("images - each of ours runs its own program, as a user without rights, with the flags of its bundle", () => {
  for (const name of OUR_IMAGES) {
    const { entrypoint, user, labels, layers } = interpretDockerfile(ours, { target: name, args: { VERSION: "9" } });
    assert.deepEqual(entrypoint, ["node", ...(NODE_FLAGS[name] ?? []), `/app/${name}.js`]);
    // istiod and the istiod-agent beside it read the same files.
    assert.equal(user, name === "istiod-agent" ? "1337:1337" : "10101:10101");
    assert.equal(labels["org.opencontainers.image.version"], "9");
    assert.equal(labels["org.opencontainers.image.title"], name);
    const own = layers.at(-1)?.flatMap(({ sources }) => sources);
    assert.equal(own?.[0], `dist/${name}.js`);
  }
});
