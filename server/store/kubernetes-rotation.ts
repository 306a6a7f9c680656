import { type Certificate, toPem } from "../../common/pki/certificate.ts";
import { MeshError } from "../../common/runtime/errors.ts";
import { type MadeFiles, makeRoot, makeSigning } from "../identity/make-relay-ca.ts";
import type { RotationStage } from "../identity/pki.ts";
import type { RelayCa } from "../identity/relay-ca.ts";
import { RELAY_SECRETS, readRoot, readServer, type RelayRoot } from "../identity/relay-secrets.ts";
import { type Files, filesOf, isOurs, type Secret, type SecretObjects } from "./secret-objects.ts";

const { root: ROOT, rootKey: ROOT_KEY, signing: SIGNING, server: SERVER } = RELAY_SECRETS;

/**
 * The Secrets alone tell where a rotation stands: whose key lies in the root's Secret signs next, or did already. Of roots
 * that somebody else made it is only known whether there are several.
 */
export function stageOf(
  { roots: [signing, ...others] }: Pick<RelayCa, "roots">,
  { authority }: RelayRoot,
): RotationStage {
  if (others.length === 0) return "STABLE";
  return signing && authority && same(authority.certificate, signing) ? "SWITCHED" : "TRUSTING";
}

/** Writes the step after `from` into the Secrets. Throws `failed_precondition` for those of somebody else, `conflict`. */
export async function advanceRoot(secrets: SecretObjects, from: RotationStage, nowMs: number): Promise<void> {
  const [root, signing] = [ours(secrets, ROOT), ours(secrets, SIGNING)];
  if (from === "STABLE") return trustAnother(secrets, root, await makeRoot(nowMs));
  const key = secrets.get(ROOT_KEY);
  const { authority } = readRoot(filesOf(root), key && filesOf(key));
  if (!authority) {
    throw new MeshError("failed_precondition", `secret ${ROOT_KEY}, with the key of the new root, is missing`, {
      hint: "put it back: it is needed until the rotation is over",
    });
  }
  if (from === "TRUSTING") return replace(secrets, signing, await makeSigning(authority, nowMs));
  // A certificate of the server that is not ours to make must not be of the root that goes.
  const server = secrets.get(SERVER);
  if (server) readServer(filesOf(server), { trusted: [authority.certificate], authority });
  return replace(secrets, root, { "ca.crt": toPem([authority.certificate]) });
}

/** Its key first: a root that nobody trusts yet harms nobody, and the next attempt makes another one. */
async function trustAnother(secrets: SecretObjects, root: Secret, made: MadeFiles): Promise<void> {
  if (secrets.get(ROOT_KEY)) await replace(secrets, ours(secrets, ROOT_KEY), made);
  else if (!(await secrets.create(ROOT_KEY, made))) throw changed(ROOT_KEY);
  return replace(secrets, root, { "ca.crt": toPem(readRoot(filesOf(root)).trusted) + made["ca.crt"] });
}

function ours(secrets: SecretObjects, name: string): Secret {
  const secret = secrets.get(name);
  if (secret && isOurs(secret)) return secret;
  throw notOurs(name);
}

const notOurs = (name: string): MeshError =>
  new MeshError(
    "failed_precondition",
    `secret ${name} was made or changed by somebody else, so it is theirs to rotate`,
    {
      hint: "the same steps by hand stand in docs/relay-ca.md",
    },
  );

async function replace(secrets: SecretObjects, secret: Secret, files: Files): Promise<void> {
  if (!(await secrets.replace(secret, files))) throw changed(secret.metadata.name);
}

const changed = (name: string): MeshError => new MeshError("conflict", `secret ${name} was changed at the same time`);

const same = (a: Certificate, b: Certificate): boolean => a.x509.raw.equals(b.x509.raw);
