import assert from "node:assert/strict";
import { test } from "node:test";
import { ClusterSession, HeldResource, IntentResource } from "../proto/gen/admin/v1/admin.ts";
import { IssuedCertificate } from "../proto/gen/certificates/v1/certificates.ts";
import { differences } from "./diff.ts";
import { formatDifferences } from "./diff-text.ts";

const NAME = { namespace: "gloo-mesh", name: "ic" };
const [OLD, NEW] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const CONNECTED = ClusterSession.create({ cluster: "cluster-1", connected: true });

function certificateOf(server: string, rest: Partial<IssuedCertificate> = {}): IssuedCertificate {
  const made = IssuedCertificate.create({
    ...{ name: NAME, hosts: ["spiffe://a"] },
    certificateAuthority: { $case: "vault", value: { server, caPath: "pki/sign" } },
  });
  return { ...made, ...rest };
}

const wantedOf = (certificate: IssuedCertificate, rest: Partial<IntentResource> = {}): IntentResource => {
  return { ...IntentResource.create(), certificate, version: NEW, ...rest };
};

const heldOf = (rest: Partial<HeldResource> = {}): HeldResource => ({
  ...HeldResource.create({ name: NAME }),
  ...rest,
});

interface Intent {
  readonly resources?: IntentResource[];
  readonly surplus?: HeldResource[];
}

const diffOf = ({ resources = [], surplus = [] }: Intent, session: ClusterSession | undefined = CONNECTED) =>
  differences({ resources, surplus }, session);

test("diff - shows the fields that differ, with both values, and no other", () => {
  const held = heldOf({ version: OLD, certificate: certificateOf("http://old:8200") });
  const { options } = IssuedCertificate.create({ options: { ttlDays: 90 } });
  const wanted = certificateOf("http://new:8200", { hosts: ["spiffe://a", "spiffe://b"], options });
  const all = diffOf({ resources: [wantedOf(wanted, { held })] });
  assert.deepEqual(all[0]?.fields, [
    { field: "hosts[1]", wanted: "spiffe://b" },
    { field: "options.ttlDays", wanted: "90" },
    { field: "vault.server", held: "http://old:8200", wanted: "http://new:8200" },
  ]);
  const text = formatDifferences("cluster-1", all);
  assert.match(text, /^~ ic\.gloo-mesh: changed; held 010101010101, wanted 020202020202\nFIELD +HELD +WANTED\n/);
  assert.match(text, /^vault\.server +http:\/\/old:8200 +http:\/\/new:8200$/m);
});

test("diff - what is new, and what is taken out, is shown whole", () => {
  const [added] = diffOf({ resources: [wantedOf(certificateOf("http://v"), { held: heldOf() })] });
  assert.deepEqual([added?.change, added?.heldVersion], ["added", ""]);
  assert.ok(added?.fields.every(({ held }) => held === undefined));
  const [removed] = diffOf({ surplus: [heldOf({ version: OLD, certificate: certificateOf("http://v") })] });
  assert.deepEqual([removed?.change, removed?.wantedVersion], ["removed", ""]);
  assert.ok((removed?.fields.length ?? 0) > 2);
});

test("diff - a long value, as a bundle of certificates, is told by its hash", () => {
  const bundle = { $case: "caBundle", value: Buffer.alloc(5_000, 65) } as const;
  const certificate = IssuedCertificate.create({
    certificateAuthority: { $case: "vault", value: { server: "v", caSource: bundle } },
  });
  const [added] = diffOf({ resources: [wantedOf(certificate, { held: heldOf() })] });
  const shown = added?.fields.find(({ field }) => field === "vault.caBundle")?.wanted ?? "";
  assert.match(shown, /^sha256:[0-9a-f]{16} \(6668 characters\)$/);
});

test("diff - says honestly what it does not know", () => {
  const wanted = wantedOf(certificateOf("http://v"));
  const away = ClusterSession.create({ cluster: "cluster-1" });
  const never = formatDifferences("cluster-1", diffOf({ resources: [wanted] }, away));
  assert.match(never, /^\? ic\.gloo-mesh: unknown; held unknown, wanted 0202/);
  assert.match(never, /was not connected since the server was started$/);
  const elsewhere = diffOf({ resources: [{ ...wanted, held: heldOf({ version: OLD }) }] });
  assert.match(formatDifferences("cluster-1", elsewhere), /held 010101010101, wanted 02.*\n.*only the version/);
  const same = diffOf({ resources: [{ ...wanted, acknowledged: true }] });
  assert.equal(formatDifferences("cluster-1", same), "cluster cluster-1 holds what it shall");
});
