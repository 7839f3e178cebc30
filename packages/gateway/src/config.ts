export interface GatewayConfig {
  readonly host: string;
  /** REST, Connect, gRPC-web; 0 picks a free port. */
  readonly httpPort: number;
  /** gRPC; 0 picks a free port. */
  readonly grpcPort: number;
  /** Origins that browsers may call from; `loopback` and `*` have a meaning of their own. */
  readonly allowOrigins: readonly string[];
  readonly natsUrl: string;
  /** gRPC address of `control`; empty: NATS request-reply. */
  readonly controlUrl: string;
  /** Bound on one request message. */
  readonly readMaxBytes: number;
  readonly maxConnections: number;
  /** Calls still running after so long are cut when the gateway stops. */
  readonly drainMs: number;
}

export const defaultGatewayConfig: GatewayConfig = {
  host: "127.0.0.1",
  httpPort: 8080,
  grpcPort: 9090,
  allowOrigins: ["loopback"],
  natsUrl: "nats://127.0.0.1:4222",
  controlUrl: "",
  readMaxBytes: 8 * 1024 * 1024,
  maxConnections: 10_000,
  drainMs: 10_000,
};

/** @throws Error that names every variable it cannot read */
export function readGatewayConfig(env: Readonly<Record<string, string | undefined>>): GatewayConfig {
  const problems: string[] = [];
  const whole = (name: string, fallback: number, most: number): number => {
    const text = env[name];
    if (text === undefined || text === "") return fallback;
    const value = Number(text);
    if (Number.isInteger(value) && value >= 0 && value <= most) return value;
    problems.push(`${name} must be a whole number from 0 to ${most}`);
    return fallback;
  };
  const text = (name: string, fallback: string): string => env[name] || fallback;
  const defaults = defaultGatewayConfig;
  const config: GatewayConfig = {
    host: text("MILLRACE_HOST", defaults.host),
    httpPort: whole("MILLRACE_HTTP_PORT", defaults.httpPort, 65_535),
    grpcPort: whole("MILLRACE_GRPC_PORT", defaults.grpcPort, 65_535),
    allowOrigins: text("MILLRACE_ALLOW_ORIGINS", defaults.allowOrigins.join(","))
      .split(",")
      .map((one) => one.trim()),
    natsUrl: text("NATS_URL", defaults.natsUrl),
    controlUrl: text("MILLRACE_CONTROL_URL", defaults.controlUrl),
    readMaxBytes: whole("MILLRACE_READ_MAX_BYTES", defaults.readMaxBytes, 1024 * 1024 * 1024),
    maxConnections: whole("MILLRACE_MAX_CONNECTIONS", defaults.maxConnections, 1_000_000),
    drainMs: whole("MILLRACE_DRAIN_MS", defaults.drainMs, 3_600_000),
  };
  if (problems.length > 0) throw new Error(`configuration: ${problems.join("; ")}`);
  return config;
}
