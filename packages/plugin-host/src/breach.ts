/** The limit that a failed call ran into. The plain form of millrace.jobs.v1.Breach. */
export interface Breach {
  /** fuel, memory, table, call_depth, time, input, output, logs, variables, host_memory, host_calls; or a capability. */
  readonly resource: string;
  /** What the call took or asked for. */
  readonly figure: number;
  readonly limit: number;
  readonly unit: "units" | "pages" | "entries" | "calls" | "ms" | "bytes";
}
