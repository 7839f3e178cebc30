import { brokerSettings, loadConfig, serviceSettings, z, type ConfigInputs } from "@millrace/service-kit";

const port = z.number().int().min(0).max(65_535);
const mebibyte = 1024 * 1024;
const rate = z.number().min(0.1).max(1_000_000);
const burst = z.number().int().min(1).max(10_000_000);

const schema = z.object({
  ...serviceSettings,
  ...brokerSettings,
  host: z.string().default("127.0.0.1"),
  /** REST, Connect, gRPC-web, health and metrics; 0 picks a free port. */
  httpPort: port.default(8080),
  /** gRPC; 0 picks a free port. */
  grpcPort: port.default(9090),
  /**
   * Origins that browsers may call from, besides the gateway's own; `loopback` stands for this machine's on any port, `*`
   * for all. Without identity `loopback` when left out, with identity none.
   */
  allowOrigins: z.array(z.string()).optional(),
  /** `on`: whoever calls has to say who they are, and may do what their roles give. `off` holds on loopback only. */
  identity: z.enum(["off", "on"]).default("off"),
  /** gRPC address of `identity`; without it calls go the way of `control`'s. */
  identityUrl: z.url().optional(),
  /** Proxies of ours before the gateway that write x-forwarded-for; 0: the peer is the caller. */
  trustedProxyHops: z.number().int().min(0).max(8).default(0),
  /** Calls per second of one user, and how many at once after a pause; over all gateways. With identity only. */
  identityRate: rate.default(20_000),
  identityBurst: burst.default(40_000),
  /** The same of one address. */
  addressRate: rate.default(20_000),
  addressBurst: burst.default(40_000),
  /** The same of one address, for what needs no identity, such as signing in, and for credentials not seen before. */
  strangerRate: rate.default(100),
  strangerBurst: burst.default(500),
  /** Jobs per second that one user may submit, and how many at once after a pause. */
  jobRate: rate.default(50_000),
  jobBurst: burst.default(500_000),
  /** The same of their size, in KiB. */
  jobKibibyteRate: rate.default(262_144),
  jobKibibyteBurst: burst.default(1_048_576),
  /** gRPC address of `control`, such as http://127.0.0.1:9100; without it calls go over NATS. */
  controlUrl: z.url().optional(),
  /** Bound on one request message. */
  readMaxBytes: z
    .number()
    .int()
    .min(1024)
    .max(1024 * mebibyte)
    .default(8 * mebibyte),
  maxConnections: z.number().int().min(1).max(1_000_000).default(10_000),
  /** Calls still running after so long are cut when the gateway stops, in ms. */
  drainMs: z.number().int().min(0).max(3_600_000).default(10_000),
});

export type GatewayConfig = z.output<typeof schema>;

/** @throws ConfigError with all problems at once */
export function readGatewayConfig(inputs: ConfigInputs = {}): GatewayConfig {
  return loadConfig(schema, inputs).values;
}
