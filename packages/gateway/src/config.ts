import { brokerSettings, loadConfig, serviceSettings, z, type ConfigInputs } from "@millrace/service-kit";

const port = z.number().int().min(0).max(65_535);
const mebibyte = 1024 * 1024;

const schema = z.object({
  ...serviceSettings,
  ...brokerSettings,
  host: z.string().default("127.0.0.1"),
  /** REST, Connect, gRPC-web, health and metrics; 0 picks a free port. */
  httpPort: port.default(8080),
  /** gRPC; 0 picks a free port. */
  grpcPort: port.default(9090),
  /** Origins that browsers may call from; `loopback` stands for this machine's on any port, `*` for all. */
  allowOrigins: z.array(z.string()).default(["loopback"]),
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
