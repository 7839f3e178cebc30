import { connectTransport } from "./connect-transport.ts";
import { readGatewayConfig } from "./config.ts";
import { startGateway } from "./start-gateway.ts";

const config = readGatewayConfig(process.env);
const stack = new AsyncDisposableStack();
const transport = stack.use(await connectTransport(config));
stack.use(await startGateway(config, { transport }));

const signal = await new Promise<string>((resolve) => {
  for (const name of ["SIGINT", "SIGTERM"]) process.once(name, resolve);
});
process.exitCode = signal === "SIGINT" ? 130 : 0;
await stack.disposeAsync();
