export { collectSeldom } from "./collect-seldom.ts";
export { gatewaySettings } from "./config.ts";
export { connectTransport } from "./connect-transport.ts";
export { isLoopback } from "./is-loopback.ts";
export { startGateway, type Gateway, type GatewayDeps } from "./start-gateway.ts";
