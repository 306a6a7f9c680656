import * as z from "zod";
import { type Authority, createRootCa } from "../../common/pki/authority.ts";
import { parseCertificate, toPem } from "../../common/pki/certificate.ts";
import { generateKey, loadPrivateKey, privateKeyToPem, publicKeyHash } from "../../common/pki/keys.ts";
import type { Clock } from "../../common/runtime/clock.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { StateCell } from "../../common/runtime/state-cell.ts";
import type { StateDirectory } from "../../common/runtime/state-directory.ts";
import type { RotationStage } from "./pki.ts";
import { BACKDATE_MS, SigningCa } from "./relay-ca.ts";

const ROOT_LIFE_MS = 10 * 365 * 86_400_000;

const rootSchema = z.object({ keyPem: z.string(), certificatePem: z.string() });

const caSchema = rootSchema.extend({
  /** Trusted already, and to sign next. */
  next: rootSchema.optional(),
  /** The one that signed before, trusted until the rotation is over. */
  previous: rootSchema.pick({ certificatePem: true }).optional(),
});

type StoredRoot = z.output<typeof rootSchema>;
type Stored = z.output<typeof caSchema>;

/** The relay's CA in the document relay-ca.json, with what a rotation adds to it. */
export class StoredCa {
  readonly #path: string;
  readonly #cell: StateCell<Stored>;
  readonly #clock: Clock;
  #ca: SigningCa;

  private constructor(path: string, cell: StateCell<Stored>, clock: Clock) {
    this.#path = path;
    this.#cell = cell;
    this.#clock = clock;
    this.#ca = this.#read();
  }

  /** The first start makes it. Throws `state_corrupt` for a broken one. */
  static async open(directory: Pick<StateDirectory, "document" | "file">, clock: Clock): Promise<StoredCa> {
    const document = directory.document<Stored>("relay-ca", caSchema);
    const stored = await document.read();
    const made = stored ?? (await makeRoot(clock.now()));
    if (!stored) await document.write(made);
    return new StoredCa(directory.file("relay-ca.json"), await StateCell.open(document, made), clock);
  }

  get ca(): SigningCa {
    return this.#ca;
  }

  get stage(): RotationStage {
    return stageOf(this.#cell.value);
  }

  /** Takes the step after `from`. Throws `conflict` where it does not stand there. */
  async advance(from: RotationStage): Promise<void> {
    await this.#cell.update(async (stored) => {
      if (stageOf(stored) !== from) throw new MeshError("conflict", `the rotation stands at ${stageOf(stored)}`);
      const { keyPem, certificatePem, next } = stored;
      if (from === "STABLE") return { keyPem, certificatePem, next: await makeRoot(this.#clock.now()) };
      return next ? { ...next, previous: { certificatePem } } : { keyPem, certificatePem };
    });
    this.#ca = this.#read();
  }

  #read(): SigningCa {
    const { next, previous, ...current } = this.#cell.value;
    const issuer = readRoot(this.#path, current);
    const other = next ?? previous;
    const alsoTrusted = other ? [parseCertificate(other.certificatePem)] : [];
    return new SigningCa({ issuer, above: [], alsoTrusted }, this.#clock);
  }
}

const stageOf = ({ next, previous }: Stored): RotationStage => (next ? "TRUSTING" : previous ? "SWITCHED" : "STABLE");

async function makeRoot(nowMs: number): Promise<StoredRoot> {
  const key = await generateKey({ type: "ec", curve: "P-256" });
  const certificate = await createRootCa({
    subject: { commonName: "enterprise-networking-ca" },
    key,
    pathLength: 0,
    notBeforeMs: nowMs - BACKDATE_MS,
    notAfterMs: nowMs + ROOT_LIFE_MS,
  });
  return { keyPem: privateKeyToPem(key), certificatePem: toPem([certificate]) };
}

function readRoot(path: string, { keyPem, certificatePem }: StoredRoot): Authority {
  const hint = `restore ${path} from a backup; without it every agent must enrol again`;
  try {
    const root = { key: loadPrivateKey(keyPem), certificate: parseCertificate(certificatePem) };
    if (publicKeyHash(root.key) === publicKeyHash(root.certificate.x509.publicKey)) return root;
  } catch (cause) {
    throw new MeshError("state_corrupt", `${path}: key or certificate cannot be read`, { cause, hint });
  }
  throw new MeshError("state_corrupt", `${path}: the key does not belong to the certificate`, { hint });
}
