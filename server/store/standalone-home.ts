import { StateDirectory } from "../../common/runtime/state-directory.ts";
import { serverNamesOf, type ServerConfig } from "../config.ts";
import { openLocalIdentity } from "../store/local-identity.ts";
import type { Home, HomeContext } from "./home.ts";
import { SoleLeadership } from "./leadership.ts";
import { LocalSessions } from "./local-sessions.ts";
import { SourceDirectory } from "./source-directory.ts";
import { openStandalonePipeline } from "./standalone-pipeline.ts";

export interface StandaloneConfig extends Pick<ServerConfig, "sourcePollMs" | "relayNames"> {
  readonly sourceDir: string;
  readonly stateDir: string;
}

/**
 * Directories as the home: one with what people write, one with what the server must not forget. Throws
 * `state_corrupt`, `state_foreign` or `conflict` for the one, `config_invalid` for the other.
 */
export async function openStandaloneHome(config: StandaloneConfig, context: HomeContext): Promise<Home> {
  const { clock, log } = context;
  const directory = await StateDirectory.open(config.stateDir, { program: "enterprise-networking" });
  try {
    const identity = await openLocalIdentity({ directory, names: serverNamesOf(config), clock, log });
    const source = new SourceDirectory({ path: config.sourceDir, clock, log, pollMs: config.sourcePollMs });
    await source.check();
    return {
      identity,
      sessions: new LocalSessions(identity.epochs, clock, identity.registry.clones),
      leadership: new SoleLeadership(),
      openPipeline: (deps) => openStandalonePipeline(source, { ...deps, directory }),
      notReady: () => [],
      tasks: {},
      close: () => directory.close(),
    };
  } catch (error) {
    await directory.close();
    throw error;
  }
}
