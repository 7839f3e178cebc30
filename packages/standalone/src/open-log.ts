import { createWriteStream } from "node:fs";
import { rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { createLogger, type Logger } from "@millrace/service-kit";
import type { StandaloneConfig } from "./config.ts";
import { makeDataDir } from "./make-data-dir.ts";

export interface OpenLog {
  readonly logger: Logger;
  /** Undefined when the lines go to stderr. */
  readonly file: string | undefined;
}

/** The file of the last runs is kept once, under `.old`. */
const mostLogBytes = 64 << 20;

/** On a terminal, log lines go to a file, so that the summary stays readable. */
export async function openLog(config: StandaloneConfig): Promise<OpenLog> {
  const { logTo, logLevel, dataDir } = config;
  const toFile = logTo === "file" || (logTo === "auto" && process.stderr.isTTY === true);
  if (!toFile) {
    return {
      logger: createLogger({ name: "millrace", level: logLevel, destination: process.stderr }),
      file: undefined,
    };
  }
  await makeDataDir(dataDir);
  const file = join(dataDir, "millrace.log");
  const size = await stat(file).then(
    (stats) => stats.size,
    () => 0,
  );
  if (size > mostLogBytes) await rename(file, `${file}.old`);
  const destination = createWriteStream(file, { flags: "a" });
  return { logger: createLogger({ name: "millrace", level: logLevel, destination }), file };
}
