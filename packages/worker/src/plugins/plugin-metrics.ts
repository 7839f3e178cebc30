/** A counter of the platform's metrics, as far as it is used here. */
interface Count<L extends string> {
  inc(labels: Partial<Record<L, string>>, value?: number): void;
}

/** What is counted of plugins, where the process's metrics hold it. */
export interface PluginMetrics {
  readonly pluginCalls: Count<"plugin" | "code">;
  readonly pluginFuel: Count<"plugin">;
  readonly pluginRunSeconds: { observe(labels: { plugin: string }, seconds: number): void };
  readonly pluginHostCalls: Count<"function" | "outcome">;
  readonly pluginCallsWaiting: { set(value: number): void };
  readonly executorKills: { inc(value?: number): void };
}
