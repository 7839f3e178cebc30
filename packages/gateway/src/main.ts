import { createLogger, createMetrics, Health, runService, startTracing } from "@millrace/service-kit";
import { version } from "@millrace/protocol";
import { collectSeldom } from "./collect-seldom.ts";
import { loadGatewayConfig } from "./config.ts";
import { connectTransport } from "./connect-transport.ts";
import { SettingsFeed } from "./settings-feed.ts";
import { startGateway } from "./start-gateway.ts";

collectSeldom();
await runService(async (stopping) => {
  const live = loadGatewayConfig({ env: process.env, argv: process.argv.slice(2) });
  const { values: config } = live;
  const logger = createLogger({ name: "gateway", level: config.logLevel });
  await using stack = new AsyncDisposableStack();
  stack.use(startTracing({ service: "gateway", version, endpoint: config.otlpEndpoint, ratio: config.traceRatio }));
  const transport = stack.use(await connectTransport(config, logger, stopping));
  const { identityUrl: controlUrl } = config;
  const identityTransport =
    controlUrl === undefined
      ? transport
      : stack.use(await connectTransport({ ...config, controlUrl }, logger, stopping));
  const health = new Health();
  const broker = [transport, identityTransport].find(({ missing }) => missing !== undefined);
  stack.use(health.check("nats", () => broker?.missing?.()));
  const settings = stack.use(new SettingsFeed(transport, live, logger));
  stack.use(health.check("settings", () => (settings.known ? undefined : "not known yet")));
  stack.use(await startGateway(config, { transport, identityTransport, logger, metrics: createMetrics(), health }));
  return stack.move();
});
