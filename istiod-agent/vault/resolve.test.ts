import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { connectTarget, parseResolveOverride } from "./resolve.ts";

test("resolve - an override leads its host and port, and no other, to its address and port", () => {
  const override = parseResolveOverride("Vault.vault:8200:127.0.0.1:43211");
  assert.ok(override);
  const target = (url: string) => connectTarget(new URL(url), [override]);
  assert.deepEqual(target("http://vault.vault:8200/v1"), { host: "127.0.0.1", port: 43_211 });
  assert.deepEqual(target("http://vault.vault:8201"), { host: "vault.vault", port: 8201 });
  assert.deepEqual(target("https://other"), { host: "other", port: 443 });
});

test("resolve - without a second port the url's is kept, as curl does, and ipv6 stands in brackets", () => {
  const override = parseResolveOverride("[fd00::1]:443:[::1]");
  assert.deepEqual(override, { host: "fd00::1", port: 443, address: "::1" });
  assert.deepEqual(connectTarget(new URL("https://[fd00::1]/"), [override]), { host: "::1", port: 443 });
});

test("resolve - what is no override is refused", () => {
  const wrong = [
    "",
    "vault:8200",
    "vault:8200:name",
    "vault:0:1.2.3.4",
    "vault:70000:1.2.3.4",
    "a:1:1.2.3.4:x",
    "a:1:::1",
  ];
  for (const text of wrong) assert.equal(parseResolveOverride(text), undefined, text);
});

test("resolve - any text is parsed or refused, and what is parsed has valid ports", () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z[\]:.0-9]{0,30}$/), (text) => {
      const parsed = parseResolveOverride(text);
      assert.ok(parsed === undefined || (parsed.port >= 1 && parsed.port <= 65_535));
    }),
  );
});
