import { connectBus } from "@millrace/bus";
import { openStore } from "@millrace/store";
import { readProcessConfig } from "./config.ts";
import { startProjector } from "./start-projector.ts";

const write =
  (level: string) =>
  (fields: object, message: string): void => {
    const { err, ...rest } = fields as { err?: unknown };
    const cause = err instanceof Error ? { err: err.stack } : {};
    process.stdout.write(
      `${JSON.stringify({ level, time: Date.now(), service: "projector", ...rest, ...cause, msg: message })}\n`,
    );
  };
const logger = { debug: () => undefined, info: write("info"), warn: write("warn"), error: write("error") };

const config = readProcessConfig(process.env);
const stop = Promise.withResolvers<string>();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.resolve(signal));

await using bus = await connectBus({ servers: config.natsUrl, name: "projector", logger });
await using store = await openStore(config.store);
await using _projector = await startProjector({}, { bus, store, logger });
logger.info({ nats: config.natsUrl }, "started");
logger.info({ signal: await stop.promise }, "stopping");
