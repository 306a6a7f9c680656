/** Whether an istiod goes on signing while something else is done to its cluster. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { temporaryFolder } from "../harness/folder.ts";
import { opensslRequest } from "../harness/openssl.ts";
import { eventually } from "../harness/wait.ts";
import type { Cluster } from "./cluster.ts";
import { askIstiod, verify, workloadToken, type Pod } from "./judge.ts";

/** Asked this often. */
const INTERVAL_MS = 250;
/** More than any test takes: a test that hangs must not ask for ever. */
const MOST = 2_000;

/** One istiod pod that is asked for certificates all the time. Disposing asserts that it gave each of them. */
export interface Signings extends AsyncDisposable {
  /** The intermediate that signed last, as PEM. */
  readonly intermediate: string;
  /** Waits until it has signed that often more; throws when it has ever refused. */
  more(times: number): Promise<void>;
  /** Waits until it signs with another intermediate than the one given. */
  untilOther(intermediate: string): Promise<string>;
}

/**
 * Asks this istiod for a certificate again and again, each time verified below `root`. A token opens the first one alone;
 * later ones are asked for with the certificate before them, because istiod has tokens reviewed by the API server.
 */
export async function startSigning(cluster: Cluster, istiod: Pod, root: string): Promise<Signings> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const files = { keyFile: folder.file("key.pem"), certificateFile: folder.file("chain.pem") };
  const rootFile = folder.file("root.pem");
  const { key, csr: csrPem } = await opensslRequest("reviews");
  await Promise.all([writeFile(rootFile, root), writeFile(files.keyFile, key)]);
  const sign = async (as: { token: string } | { identity: typeof files }): Promise<string> => {
    const chain = await askIstiod(cluster, istiod, { csrPem, rootFile, ...as });
    await verify(chain.slice(0, -1), root);
    await writeFile(files.certificateFile, chain.join("\n"));
    return chain[1] ?? "";
  };
  let intermediate = await sign({ token: await workloadToken(cluster) });
  let signed = 1;
  let failure: unknown;
  const ended = new AbortController();
  const asking = (async () => {
    for (; signed < MOST && !ended.signal.aborted; signed += 1) {
      intermediate = await sign({ identity: files });
      await delay(INTERVAL_MS, undefined, { signal: ended.signal }).catch(() => undefined);
    }
  })().catch((error: unknown) => (failure = error));
  const until = async (what: string, isSo: () => boolean): Promise<void> => {
    await eventually(what, async () => failure !== undefined || isSo(), { timeoutMs: 180_000 });
    assert.ifError(failure);
  };
  const resources = stack.move();
  return {
    get intermediate() {
      return intermediate;
    },
    more: (times) => {
      const enough = signed + times;
      return until(`${times} certificates more`, () => signed >= enough);
    },
    untilOther: async (before) => {
      await until("another intermediate", () => intermediate !== before);
      return intermediate;
    },
    async [Symbol.asyncDispose]() {
      ended.abort();
      await asking;
      await resources.disposeAsync();
      assert.ifError(failure);
    },
  };
}
