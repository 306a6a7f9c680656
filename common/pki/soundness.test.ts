import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import type { KeyObject } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import fc from "fast-check";
import { EXTENDED_KEY_USAGES } from "./authority.ts";
import { type Certificate, parseCertificate, toPem } from "./certificate.ts";
import { generateKey, publicKeyDer } from "./keys.ts";
import { subjectName } from "./names.ts";
import { toSigningKey } from "./signing-key.ts";
import { type CaCandidate, checkCa } from "./soundness.ts";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "./x509.ts";

const run = promisify(execFile);
const NOW_MS = Date.parse("2026-06-01T12:00:00Z");
const DAY_MS = 86_400_000;
const CA_USAGES = new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true);
const NO_CERT_SIGN = new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.cRLSign, true);

/** All that can be said of one CA certificate; a flaw changes one field at one place of the chain. */
interface Plan {
  readonly name: string;
  readonly issuerName: string;
  readonly key: KeyObject;
  readonly issuerKey: KeyObject;
  readonly akiKey: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly ca: boolean;
  readonly pathLength: number | undefined;
  readonly usages: KeyUsagesExtension | undefined;
  readonly extendedUsages: readonly string[] | undefined;
}

async function forge(plan: Plan): Promise<Certificate> {
  const { keys, algorithm } = toSigningKey(plan.issuerKey);
  const certificate = await X509CertificateGenerator.create({
    issuer: subjectName({ commonName: plan.issuerName }),
    subject: subjectName({ commonName: plan.name }),
    publicKey: publicKeyDer(plan.key),
    signingKey: keys.privateKey,
    signingAlgorithm: algorithm,
    notBefore: new Date(plan.notBeforeMs),
    notAfter: new Date(plan.notAfterMs),
    extensions: [
      new BasicConstraintsExtension(plan.ca, plan.pathLength, true),
      await SubjectKeyIdentifierExtension.create(publicKeyDer(plan.key)),
      await AuthorityKeyIdentifierExtension.create(publicKeyDer(plan.akiKey)),
      ...(plan.usages === undefined ? [] : [plan.usages]),
      ...(plan.extendedUsages === undefined ? [] : [new ExtendedKeyUsageExtension([...plan.extendedUsages])]),
    ],
  });
  return parseCertificate(certificate.toString("pem"));
}

const FLAWS = {
  expired: { notAfterMs: NOW_MS - DAY_MS },
  "not valid before": { notBeforeMs: NOW_MS + DAY_MS / 2 },
  "CA:TRUE": { ca: false, pathLength: undefined },
  keyCertSign: { usages: NO_CERT_SIGN },
  "excludes serverAuth": { extendedUsages: [EXTENDED_KEY_USAGES.clientAuth] },
  "excludes clientAuth": { extendedUsages: [EXTENDED_KEY_USAGES.serverAuth] },
} satisfies Record<string, Partial<Plan>>;

interface Shape {
  /** Certificates from the CA up to the root, two at least. */
  readonly length: number;
  readonly flaw: string;
  readonly at: number;
  readonly pathLengths: boolean;
  readonly rootUsage: boolean;
}

const shapes: fc.Arbitrary<Shape> = fc.integer({ min: 2, max: 4 }).chain((length) =>
  fc.record({
    length: fc.constant(length),
    flaw: fc.constantFrom(
      "none",
      "signed by",
      "name",
      "key identifier",
      "path length",
      "private key",
      ...Object.keys(FLAWS),
    ),
    at: fc.integer({ min: 0, max: length - 1 }),
    pathLengths: fc.boolean(),
    rootUsage: fc.boolean(),
  }),
);

/** With CI=true nothing is skipped: without openssl the comparison then fails. */
const lacksOpenssl = process.env["CI"] !== "true" && spawnSync("openssl", ["version"]).status !== 0;
const skip = lacksOpenssl ? "openssl is not on the path" : false;

describe("soundness", () => {
  const keys: KeyObject[] = [];
  let directory = "";
  before(async () => {
    for (let count = 0; count < 5; count++) keys.push(await generateKey({ type: "ec", curve: "P-256" }));
    directory = await mkdtemp(join(tmpdir(), "soundness-"));
  });
  after(async () => rm(directory, { recursive: true }));

  const keyAt = (index: number): KeyObject => keys[index] ?? assert.fail(`no key ${index}`);

  function planOf({ length, flaw, at, pathLengths, rootUsage }: Shape): Plan[] {
    return Array.from({ length }, (_, index) => {
      const above = Math.min(index + 1, length - 1);
      const isRoot = index === length - 1;
      const plan: Plan = {
        name: `ca-${index}`,
        issuerName: flaw === "name" && at === index && !isRoot ? "nobody" : `ca-${above}`,
        key: keyAt(index),
        issuerKey: keyAt(flaw === "signed by" && at === index && !isRoot ? 4 : above),
        akiKey: keyAt(flaw === "key identifier" && at === index && !isRoot ? 4 : above),
        notBeforeMs: NOW_MS - DAY_MS,
        notAfterMs: NOW_MS + DAY_MS * (index + 1),
        ca: true,
        pathLength: flaw === "path length" && at === index ? Math.max(0, index - 1) : pathLengths ? index : undefined,
        usages: isRoot && !rootUsage ? undefined : CA_USAGES,
        extendedUsages: undefined,
      };
      return at === index ? { ...plan, ...FLAWS[flaw as keyof typeof FLAWS] } : plan;
    });
  }

  async function candidateOf(shape: Shape): Promise<CaCandidate> {
    const [certificate, ...above] = await Promise.all(planOf(shape).map(forge));
    const root = above.pop();
    assert.ok(certificate && root);
    return { certificate, key: keyAt(shape.flaw === "private key" ? 4 : 0), intermediates: above, root, nowMs: NOW_MS };
  }

  async function opensslAccepts({ key, intermediates, certificate, root }: CaCandidate): Promise<boolean> {
    const [ca] = planOf({ length: 2, flaw: "none", at: 0, pathLengths: false, rootUsage: true });
    assert.ok(ca);
    const names = { name: "leaf", issuerName: "ca-0" };
    const leaf = await forge({
      ...ca,
      ...names,
      key: keyAt(3),
      issuerKey: key,
      akiKey: keyAt(0),
      ca: false,
      usages: NO_CERT_SIGN,
    });
    const write = (name: string, certificates: Certificate[]) => writeFile(join(directory, name), toPem(certificates));
    await Promise.all([
      write("root", [root]),
      write("untrusted", [certificate, ...intermediates]),
      write("leaf", [leaf]),
    ]);
    const verdict = async (purpose: string): Promise<boolean> => {
      const time = ["-attime", String(NOW_MS / 1000), "-purpose", purpose];
      const files = ["-no-CApath", "-no-CAstore", "-CAfile", "root", "-untrusted", "untrusted", "leaf"];
      return run("openssl", ["verify", ...time, ...files], { cwd: directory }).then(
        () => true,
        () => false,
      );
    };
    return (await verdict("sslserver")) && (await verdict("sslclient"));
  }

  test("soundness - says of any chain what openssl says of a leaf below it", { skip }, async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async (shape) => {
        const candidate = await candidateOf(shape);
        const ours = await checkCa(candidate).then(
          () => true,
          () => false,
        );
        assert.equal(ours, await opensslAccepts(candidate));
      }),
      { numRuns: 40 },
    );
  });

  test("soundness - names what failed", async () => {
    const names = {
      "signed by": /not signed by "CN=ca-1"/,
      "private key": /private key belongs to another/,
      name: /not signed by/,
    };
    const faults = { ...Object.fromEntries(Object.keys(FLAWS).map((flaw) => [flaw, new RegExp(flaw)])), ...names };
    for (const [flaw, message] of Object.entries(faults)) {
      const candidate = await candidateOf({ length: 3, flaw, at: 0, pathLengths: true, rootUsage: true });
      await assert.rejects(checkCa(candidate), { code: "ca_unsound", message });
    }
    const tooDeep = await candidateOf({ length: 4, flaw: "path length", at: 2, pathLengths: false, rootUsage: true });
    await assert.rejects(checkCa(tooDeep), { code: "ca_unsound", message: /"CN=ca-2".*path length 1, but 2/ });
  });

  test(
    "soundness - refuses a ca that outlives any certificate above it, which openssl would take",
    { skip },
    async () => {
      const plans = planOf({ length: 3, flaw: "none", at: 0, pathLengths: false, rootUsage: true });
      const [certificate, middle, root] = await Promise.all(
        plans.map((plan, index) => forge(index === 0 ? { ...plan, notAfterMs: NOW_MS + DAY_MS * 2.5 } : plan)),
      );
      assert.ok(certificate && middle && root);
      const candidate = { certificate, key: keyAt(0), intermediates: [middle], root, nowMs: NOW_MS };
      assert.ok(await opensslAccepts(candidate));
      await assert.rejects(checkCa(candidate), {
        code: "ca_unsound",
        message: /ends 2026-06-04.*after its issuer "CN=ca-1"/,
      });
    },
  );

  test("soundness - refuses an intermediate without key usage, and a root that another signed", async () => {
    const plans = planOf({ length: 2, flaw: "none", at: 0, pathLengths: false, rootUsage: true });
    const [bare, root] = await Promise.all(plans.map((plan) => forge({ ...plan, usages: undefined })));
    assert.ok(bare && root);
    const candidate = { certificate: bare, key: keyAt(0), intermediates: [], root, nowMs: NOW_MS };
    await assert.rejects(checkCa(candidate), { code: "ca_unsound", message: /"CN=ca-0".*key usage is absent/ });
    const [ca, foreign] = await Promise.all(
      plans.map((plan, index) => forge(index === 1 ? { ...plan, issuerKey: keyAt(4) } : plan)),
    );
    assert.ok(ca && foreign);
    await assert.rejects(checkCa({ ...candidate, certificate: ca, root: foreign }), {
      message: /not signed by itself/,
    });
  });
});
