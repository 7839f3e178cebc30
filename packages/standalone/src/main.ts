import { collectSeldom } from "@millrace/gateway";
import { ConfigError, LiveConfig, loadConfig, runService } from "@millrace/service-kit";
import { standaloneSettings } from "./config.ts";
import { explainStartFailure } from "./explain-start-failure.ts";
import { openLog } from "./open-log.ts";
import { startStandalone } from "./start-standalone.ts";
import { summary } from "./summary.ts";

try {
  const loaded = loadConfig(standaloneSettings, { env: process.env, argv: process.argv.slice(2) });
  const live = new LiveConfig(standaloneSettings, loaded);
  const { values: config } = live;
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  if (loaded.unread.length > 0) say(`No settings, and not read: ${loaded.unread.join(", ")} (MILLRACE_CONFIG)`);
  const { logger, file } = await openLog(config);
  await runService(
    async (signal) => {
      try {
        const system = await startStandalone(live, { logger, logFile: file, signal, say });
        collectSeldom();
        process.stdout.write(summary(config, system));
        return system;
      } catch (error) {
        // A person sits there, and the log may be elsewhere.
        if (error !== signal.reason) say(explainStartFailure(error, file));
        throw error;
      }
    },
    { logger, stopTimeoutMs: config.stopTimeoutMs },
  );
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\ndocs/operating.md tells what can be set.\n`);
  process.exitCode = 1;
}
