import { join } from "node:path";
import type { Clock } from "../common/runtime/clock.ts";
import { writeFileAtomic } from "../common/runtime/files.ts";
import { LINK_AUDIENCE } from "../common/session/link.ts";
import type { FakeServiceAccounts } from "../test/fakes/service-accounts.ts";

const TOKEN_LIFE_MS = 3_600_000;
/** As a kubelet does it. */
const RENEW_AT = 0.8;

/** The pod that tokens are bound to. */
export interface Pod {
  readonly name: string;
  readonly uid: string;
}

/** The service account directory of istiod's pod: what a kubelet would mount and keep fresh. */
export class PodTokens {
  readonly directory: string;
  readonly #accounts: FakeServiceAccounts;
  readonly #pod: Pod;
  readonly #clock: Clock;

  constructor(directory: string, pod: Pod, sources: { accounts: FakeServiceAccounts; clock: Clock }) {
    this.directory = directory;
    this.#pod = pod;
    this.#accounts = sources.accounts;
    this.#clock = sources.clock;
  }

  /** Signs all tokens anew, one file each, mode 0600. */
  async write(): Promise<void> {
    const audiences = {
      token: this.#accounts.issuer,
      "enterprise-agent-token": LINK_AUDIENCE,
      "istio-ca-token": "istio-ca",
    };
    for (const [file, audience] of Object.entries(audiences)) {
      const expiresAtMs = this.#clock.now() + TOKEN_LIFE_MS;
      const token = await this.#accounts.sign({
        audience,
        podName: this.#pod.name,
        podUid: this.#pod.uid,
        expiresAtMs,
      });
      await writeFileAtomic(join(this.directory, file), token);
    }
  }

  /** Keeps the tokens fresh until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#clock.sleep(TOKEN_LIFE_MS * RENEW_AT, signal);
      await this.write();
    }
  }
}
