import {
  brokerSettings,
  byteSetting,
  LiveConfig,
  loadConfig,
  runtimeSettings,
  serviceSettings,
  z,
  type ConfigInputs,
} from "@millrace/service-kit";

const port = z.number().int().min(0).max(65_535);
const mebibyte = 1024 * 1024;
// Of these, the runtime settings may change while the gateway runs.
const { allowOrigins, identityRate, identityBurst, addressRate, addressBurst } = runtimeSettings;
const { strangerRate, strangerBurst, jobRate, jobBurst, jobKibibyteRate, jobKibibyteBurst } = runtimeSettings;
const { maxConnectionsPerAddress } = runtimeSettings;

/** What doors need to know, for the schema of a process that has them. Rates and bursts are looked at with identity only. */
export const gatewaySettings = {
  host: z.string().default("127.0.0.1").describe("Address that is listened on"),
  httpPort: port
    .default(8080)
    .describe("REST, Connect, gRPC-web, documentation, health and metrics; 0 takes a free port"),
  grpcPort: port.default(9090).describe("gRPC; 0 takes a free port"),
  identity: z
    .enum(["off", "on"])
    .default("off")
    .describe(
      "on: whoever calls has to say who they are, and may do what their roles give. off is possible on loopback only",
    ),
  trustedProxyHops: z
    .number()
    .int()
    .min(0)
    .max(8)
    .default(0)
    .describe("Proxies of ours before the gateway that write x-forwarded-for; 0: the peer is the caller"),
  secureCookies: z
    .boolean()
    .default(false)
    .describe("The cookies of browsers go over TLS only; set it wherever browsers come by https"),
  allowOrigins,
  identityRate,
  identityBurst,
  addressRate,
  addressBurst,
  strangerRate,
  strangerBurst,
  jobRate,
  jobBurst,
  jobKibibyteRate,
  jobKibibyteBurst,
  readMaxBytes: byteSetting(1024, 1024 * mebibyte)
    .default(8 * mebibyte)
    .describe("Bound on one request message, in bytes"),
  maxConnections: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe("Connections of each port at one time"),
  maxConnectionsPerAddress,
  drainMs: z
    .number()
    .int()
    .min(0)
    .max(3_600_000)
    .default(10_000)
    .describe("Calls still running after so long are cut when the gateway stops, in ms"),
};

const processSettings = z.object({
  ...serviceSettings,
  ...brokerSettings,
  ...gatewaySettings,
  controlUrl: z
    .url()
    .optional()
    .describe("gRPC address of control, such as http://127.0.0.1:9100; without it calls go over NATS"),
  identityUrl: z.url().optional().describe("gRPC address of identity; without it calls go the way of those to control"),
});

/** Of a configuration that changes: look into it anew each time. */
export type GatewayConfig = z.output<z.ZodObject<typeof gatewaySettings>>;
export type GatewayProcessConfig = z.output<typeof processSettings>;

/** @throws ConfigError with all problems at once */
export function loadGatewayConfig(inputs: ConfigInputs = {}): LiveConfig<typeof processSettings> {
  return new LiveConfig(processSettings, loadConfig(processSettings, inputs));
}

/** As it is at the start. @throws ConfigError with all problems at once */
export function readGatewayConfig(inputs: ConfigInputs = {}): GatewayProcessConfig {
  return loadGatewayConfig(inputs).values;
}
