import process from "node:process";
import { ConfigError } from "./config-error.ts";
import { createLogger, type Logger } from "./create-logger.ts";

export interface RunOptions {
  readonly logger?: Logger;
  /** How long stopping may take, in ms. */
  readonly stopTimeoutMs?: number;
}

/** One Ctrl-C may arrive twice, from the terminal and from the parent that passes it on; later ones mean "at once". */
const sameSignalMs = 500;

/** After everything is disposed, a forgotten handle may keep the process for so long. */
const leftoverMs = 1_000;

/**
 * The whole of a `main.ts`: starts, waits for SIGINT or SIGTERM, stops in order, ends the process.
 *
 * A signal during the start aborts `signal`, and what has started is disposed. A second signal, or `stopTimeoutMs`, ends the
 * process at once. An error that nobody caught stops the service in order, with exit code 1.
 */
export async function runService(
  start: (signal: AbortSignal) => Promise<AsyncDisposable>,
  { logger = createLogger({ name: "millrace" }), stopTimeoutMs = 30_000 }: RunOptions = {},
): Promise<void> {
  const aborted = new AbortController();
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
  let stoppingSince: number | undefined;
  let exitCode = 0;

  const stop = (reason: Error): void => {
    if (stoppingSince !== undefined) return;
    stoppingSince = Date.now();
    setTimeout(() => {
      logger.error({ stopTimeoutMs }, "did not stop in time: ending at once");
      process.exit(1);
    }, stopTimeoutMs).unref();
    aborted.abort(reason);
    ask();
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stoppingSince === undefined) logger.info({ signal }, "stopping");
    else if (Date.now() - stoppingSince > sameSignalMs) {
      logger.warn({ signal }, "second signal: ending at once");
      process.exit(130);
    }
    stop(new Error(`stopped by ${signal}`));
  };
  const onError = (error: unknown): void => {
    logger.fatal({ err: error }, "an error that nobody caught: stopping");
    exitCode = 1;
    stop(new Error("stopped by an error", { cause: error }));
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  process.on("uncaughtException", onError).on("unhandledRejection", onError);

  try {
    const service = await start(aborted.signal);
    await asked;
    await service[Symbol.asyncDispose]();
    logger.info("stopped");
  } catch (error) {
    // A start that gives up because it was told to stop is no failure.
    if (error !== aborted.signal.reason) exitCode = 1;
    if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`);
    else if (exitCode === 1)
      logger.fatal({ err: error }, stoppingSince === undefined ? "did not start" : "did not stop cleanly");
  }
  process.exitCode = exitCode;
  setTimeout(() => {
    logger.warn("a handle was left open: ending");
    process.exit(exitCode);
  }, leftoverMs).unref();
}
