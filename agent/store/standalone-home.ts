import { join } from "node:path";
import { writeFileAtomic } from "../../common/runtime/files.ts";
import { StateDirectory } from "../../common/runtime/state-directory.ts";
import { admitAccounts } from "../certs/admission.ts";
import { JwtTokenReviewer } from "../certs/jwt-token-reviewer.ts";
import type { AgentConfig } from "../config.ts";
import { fileIdentityHome } from "../identity/file-home.ts";
import { enrollmentAddressOf } from "../identity/options.ts";
import { openFileIntentStore } from "./file-intent-store.ts";
import type { AgentHome, HomeContext } from "./home.ts";
import { soleLeadership } from "./leadership.ts";

export interface StandaloneConfig extends AgentConfig {
  readonly stateDir: string;
  readonly tokenJwksFile: string;
}

/** A directory as the home. Throws `state_corrupt`, `state_foreign`, and `conflict` while another process has it open. */
export async function openStandaloneHome(config: StandaloneConfig, { clock }: HomeContext): Promise<AgentHome> {
  const { cluster, stateDir, tokenJwksFile: jwksFile, tokenIssuer: issuer } = config;
  const directory = await StateDirectory.open(stateDir, { program: "enterprise-agent", cluster });
  try {
    return {
      intent: await openFileIntentStore(directory),
      identity: fileIdentityHome({ ...config, directory, address: enrollmentAddressOf(config) }),
      leadership: soleLeadership(),
      reviewer: new JwtTokenReviewer({ jwksFile, issuer, clock }),
      admission: admitAccounts(config.istiodServiceAccounts),
      // There is no other replica.
      claim: () => Promise.resolve(),
      recall: () => undefined,
      publishCa: (caPem) => writeFileAtomic(caFileOf(config), caPem, 0o644),
      openStatus: (book) => ({ statuses: book.statuses, list: () => book.list(), tasks: {} }),
      tasks: {},
      leaderTasks: () => ({}),
      close: () => directory.close(),
    };
  } catch (error) {
    await directory.close();
    throw error;
  }
}

const caFileOf = ({ istiodCaFile, stateDir }: StandaloneConfig): string =>
  istiodCaFile ?? join(stateDir, "enterprise-agent-ca.pem");
