export { defaultGatewayConfig, readGatewayConfig, type GatewayConfig } from "./config.ts";
export { startGateway, type Gateway, type GatewayDeps } from "./start-gateway.ts";
