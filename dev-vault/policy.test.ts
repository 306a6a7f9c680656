import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { allows, type Capability, capabilitiesAt, parsePolicy, type Rule } from "./policy.ts";
import { VaultError } from "./protocol.ts";

const capability = fc.constantFrom<Capability>("create", "read", "update", "delete", "list", "sudo", "deny");
const path = fc.stringMatching(/^[a-z_+]{1,5}(\/[a-z_+]{1,5}){0,3}\*?$/);
const rule: fc.Arbitrary<Rule> = fc.record(
  { path, capabilities: fc.array(capability, { maxLength: 3 }) },
  { noNullPrototype: true },
);

function write(rules: readonly Rule[]): string {
  const block = ({ path, capabilities }: Rule) =>
    `# rule\npath ${JSON.stringify(path)} {\n  capabilities = [${capabilities.map((each) => JSON.stringify(each)).join(", ")}]\n}`;
  return rules.map(block).join("\n/* next */ ");
}

describe("policy", () => {
  test("policy - reads back any rules as written, comments and layout aside", () => {
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 4 }), (rules) => assert.deepEqual(parsePolicy(write(rules)), rules)),
    );
    const trailing = 'path "a" { capabilities = ["read", ] } // end';
    assert.deepEqual(parsePolicy(trailing), [{ path: "a", capabilities: ["read"] }]);
  });

  test("policy - text that is none is refused as a wrong request and nothing else", () => {
    const broken = fc.tuple(fc.array(rule, { minLength: 1, maxLength: 2 }), fc.nat(), fc.string({ maxLength: 3 }));
    const texts = fc.oneof(
      fc.string(),
      broken.map(([rules, at, noise]) => {
        const text = write(rules);
        return text.slice(0, at % text.length) + noise + text.slice((at % text.length) + 1);
      }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          parsePolicy(text);
        } catch (error) {
          assert.ok(
            error instanceof VaultError && error.status === 400 && error.message.startsWith("failed to parse policy: "),
          );
        }
      }),
    );
    assert.throws(() => parsePolicy('path "x" {'), {
      message: "failed to parse policy: expected capabilities got: EOF",
    });
  });

  test("policy - deny wins over every other capability of the same pattern, and no rule grants nothing", () => {
    fc.assert(
      fc.property(path, fc.array(capability), (pattern, capabilities) => {
        const rules = [
          { path: pattern, capabilities },
          { path: pattern, capabilities: ["deny" as const] },
        ];
        assert.deepEqual(capabilitiesAt(rules, pattern), ["deny"]);
        assert.deepEqual(capabilitiesAt([], pattern), ["deny"]);
      }),
    );
  });

  test("policy - a list may be granted on the folder or on what is in it", () => {
    for (const pattern of ["pki/keys", "pki/keys/", "pki/*"]) {
      assert.ok(allows([{ path: pattern, capabilities: ["list"] }], "list", "pki/keys"), pattern);
    }
    assert.ok(!allows([{ path: "pki/keys/*", capabilities: ["list"] }], "read", "pki/keys"));
  });
});
