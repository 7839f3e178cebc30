import { brokerSettings, loadConfig, serviceSettings, z, type ConfigInputs } from "@millrace/service-kit";
import { defaultExecutorKind } from "./executors/executor-channel.ts";

const schema = z.object({
  ...serviceSettings,
  ...brokerSettings,
  /** Where health and metrics are served. */
  host: z.string().default("127.0.0.1"),
  /** 0 picks a free port. */
  opsPort: z.number().int().min(0).max(65_535).default(0),
  /** Comma separated. */
  queues: z.string().default("default"),
  /** Module whose export `handlers` holds native handlers by job type. */
  handlers: z.string().optional(),
  slots: z.number().int().min(1).max(10_000).default(64),
  executors: z.number().int().min(0).max(256).default(1),
  executorKind: z.enum(["thread", "process"]).default(defaultExecutorKind),
  pluginSignatures: z.enum(["optional", "required"]).default("optional"),
  /** Comma separated `host:port`. */
  pluginHttpPrivate: z.string().default(""),
  /** YAML or JSON, readable by its owner only. */
  secretsFile: z.string().optional(),
  ackWaitMs: z.number().int().min(1000).max(3_600_000).default(30_000),
  drainTimeoutMs: z.number().int().min(0).max(3_600_000).default(20_000),
});

/** What a worker process needs to know. */
export type WorkerConfig = Omit<z.output<typeof schema>, "queues" | "pluginHttpPrivate"> & {
  readonly queues: readonly string[];
  readonly pluginHttpPrivate: readonly string[];
};

/** @throws ConfigError with all problems at once */
export function readWorkerConfig(inputs: ConfigInputs): WorkerConfig {
  const { values } = loadConfig(schema, inputs);
  return { ...values, queues: list(values.queues), pluginHttpPrivate: list(values.pluginHttpPrivate) };
}

function list(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}
