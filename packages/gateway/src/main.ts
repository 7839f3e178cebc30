import { createLogger, createMetrics, Health, runService, startTracing } from "@millrace/service-kit";
import { version } from "@millrace/protocol";
import { readGatewayConfig } from "./config.ts";
import { connectTransport } from "./connect-transport.ts";
import { startGateway } from "./start-gateway.ts";

await runService(async () => {
  const config = readGatewayConfig({ env: process.env, argv: process.argv.slice(2) });
  const logger = createLogger({ name: "gateway", level: config.logLevel });
  await using stack = new AsyncDisposableStack();
  stack.use(startTracing({ service: "gateway", version, endpoint: config.otlpEndpoint, ratio: config.traceRatio }));
  const transport = stack.use(await connectTransport(config, logger));
  const { identityUrl: controlUrl } = config;
  const identityTransport =
    controlUrl === undefined ? transport : stack.use(await connectTransport({ ...config, controlUrl }, logger));
  const deps = { transport, identityTransport, logger, metrics: createMetrics(), health: new Health() };
  stack.use(await startGateway(config, deps));
  return stack.move();
});
