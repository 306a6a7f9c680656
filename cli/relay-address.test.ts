import assert from "node:assert/strict";
import { test } from "node:test";
import { relayAddress } from "./relay-address.ts";

const FAULTS: Readonly<Record<string, RegExp>> = {
  ":9900": /the host is missing; has the load balancer an address yet\?/,
  "": /the host is missing/,
  "relay.example.com": /the port is missing/,
  "https://relay:9900": /it has a scheme/,
  "relay:0": /port 0/,
  "relay:70000": /no host and port/,
  "::1:9900": /no host and port/,
};

test("relay address - each fault is named, before an agent is sent to look for it", () => {
  for (const [text, fault] of Object.entries(FAULTS)) {
    const { error } = relayAddress.safeParse(text);
    assert.match(error?.issues[0]?.message ?? "", fault, text);
  }
  for (const text of ["relay.example.com:9900", "10.0.0.1:30900", "[::1]:9900"]) {
    assert.equal(relayAddress.parse(text), text);
  }
});
