import type { StandaloneConfig } from "./config.ts";

/** Words for a person about why the system did not start, and what to do. */
export function explainStartFailure(error: unknown, config: StandaloneConfig): string {
  const { code, port, message } = error as { code?: unknown; port?: unknown; message?: unknown };
  if (code === "EADDRINUSE") {
    const variable =
      port === config.httpPort ? "MILLRACE_HTTP_PORT" : port === config.grpcPort ? "MILLRACE_GRPC_PORT" : "the port";
    return `Port ${String(port)} is in use, perhaps by another Millrace. Set ${variable} to another one, or stop what uses it.`;
  }
  return `Millrace did not start: ${String(message ?? error)}\nThe log is in ${config.dataDir}/millrace.log.`;
}
