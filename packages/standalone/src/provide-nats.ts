import { join } from "node:path";
import type { BusLogger } from "@millrace/bus";
import { provideNatsServer, type NatsServer } from "@millrace/bus/nats-server";
import { checkPort } from "./check-port.ts";
import type { StandaloneConfig } from "./config.ts";

/** The nats-server of NATS_URL, else one of our own in the data folder. */
export async function provideNats(config: StandaloneConfig, logger: BusLogger): Promise<NatsServer> {
  const { natsUrl, natsPort, dataDir, cacheDir } = config;
  try {
    return await provideNatsServer({
      ...(natsUrl === undefined ? {} : { url: natsUrl }),
      dataDir: join(dataDir, "nats"),
      cacheDir,
      port: natsPort,
      logger,
    });
  } catch (error) {
    // Only then: a server that the last run left behind is on this port, and is ended first.
    if (natsUrl === undefined) {
      await checkPort(
        "127.0.0.1",
        natsPort,
        "MILLRACE_NATS_PORT, or NATS_URL to use the server that runs there,",
        "NATS",
      );
    }
    throw error;
  }
}
