// Writes authorization.conf anew: node deploy/nats/generate.ts
import { writeFileSync } from "node:fs";
import { authorizationConfig } from "../../packages/bus/src/broker-config.ts";

writeFileSync(new URL("authorization.conf", import.meta.url), authorizationConfig());
