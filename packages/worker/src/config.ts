import { brokerSettings, LiveConfig, loadConfig, serviceSettings, z, type ConfigInputs } from "@millrace/service-kit";
import { areNameServers } from "./are-name-servers.ts";
import { defaultExecutorKind } from "./executors/executor-channel.ts";
import { pluginSettings } from "./plugin-settings.ts";

const schema = z.object({
  ...serviceSettings,
  ...brokerSettings,
  host: z.string().default("127.0.0.1").describe("Address that health and metrics are served on"),
  opsPort: z.number().int().min(0).max(65_535).default(0).describe("Port of health and metrics; 0 takes a free one"),
  queues: z.string().default("default").describe("Queues that are served, comma separated"),
  handlers: z.string().optional().describe("Module whose export handlers holds native handlers by job type"),
  slots: z.number().int().min(1).max(10_000).default(64).describe("Jobs at one time"),
  executors: z.number().int().min(0).max(256).default(1).describe("Executors that run plugins"),
  executorKind: z
    .enum(["thread", "process"])
    .default(defaultExecutorKind)
    .describe("Whether an executor is a thread, or a process of its own"),
  ...pluginSettings,
  pluginHttpPrivate: z
    .string()
    .default("")
    .describe("host:port that plugins may call by HTTP although their addresses are private, comma separated"),
  pluginNameServers: z
    .string()
    .default("")
    .refine((text) => areNameServers(list(text)), "has what is no address and no address:port")
    .describe(
      "address or address:port of the name servers for what plugins call, comma separated; empty: the system's",
    ),
  ackWaitMs: z
    .number()
    .int()
    .min(1000)
    .max(3_600_000)
    .default(30_000)
    .describe("A job whose worker is silent for so long is run again, in ms"),
  drainTimeoutMs: z
    .number()
    .int()
    .min(0)
    .max(3_600_000)
    .default(20_000)
    .describe("How long running jobs may take when the worker stops, in ms"),
});

/** What a worker process needs to know. */
export type WorkerConfig = Omit<z.output<typeof schema>, "queues" | "pluginHttpPrivate" | "pluginNameServers"> & {
  readonly queues: readonly string[];
  readonly pluginHttpPrivate: readonly string[];
  readonly pluginNameServers: readonly string[];
};

/** As it is at the start, and as it changes. @throws ConfigError with all problems at once */
export function loadWorkerConfig(inputs: ConfigInputs): { readonly config: WorkerConfig; readonly live: LiveConfig } {
  const live = new LiveConfig(schema, loadConfig(schema, inputs));
  const { values } = live;
  const [queues, pluginHttpPrivate] = [list(values.queues), list(values.pluginHttpPrivate)];
  const pluginNameServers = list(values.pluginNameServers);
  return { config: { ...values, queues, pluginHttpPrivate, pluginNameServers }, live };
}

function list(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}
