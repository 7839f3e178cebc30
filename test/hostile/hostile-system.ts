import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { create, fromBinary } from "@bufbuild/protobuf";
import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import type { Capabilities, PluginLimits } from "@millrace/plugin-host";
import {
  encodePluginRecord,
  EventBatchSchema,
  EventKind,
  headerNames,
  jobSubject,
  PluginCapabilitiesSchema,
  PluginHandlerSchema,
  PluginLimitsSchema,
  PluginSchema,
  PluginState,
  type JobEvent,
  type PriorityName,
} from "@millrace/protocol";
import { freePort, ServiceProcess } from "../lib/process.ts";

// The binary itself: the package's script would stand between it and our signals.
const deno = join(dirname(createRequire(import.meta.url).resolve("deno/package.json")), "deno");
const main = "packages/worker/src/main.ts";
export const runtimes = {
  node: [process.execPath, main],
  deno: [deno, "run", "-A", "--node-modules-dir=manual", main],
} as const;
export type Runtime = keyof typeof runtimes;

export interface Installed {
  readonly name: string;
  readonly module: Uint8Array;
  /** Each is the handler of the job type that typeOf names. */
  readonly exports: Iterable<string>;
  readonly limits?: Partial<PluginLimits> | undefined;
  readonly granted?: Partial<Capabilities> | undefined;
}

const ending: ReadonlySet<EventKind> = new Set([
  EventKind.SUCCEEDED,
  EventKind.DEAD,
  EventKind.CANCELLED,
  EventKind.EXPIRED,
]);

export const typeOf = (plugin: string, exportName: string): string => `${plugin}-${exportName}`;

/** A broker and one worker process, and the ends of all jobs. */
export class HostileSystem implements AsyncDisposable {
  readonly worker: ServiceProcess;
  readonly #bus: Bus;
  readonly #stack: AsyncDisposableStack;
  readonly #listeners = new Map<string, (event: JobEvent) => void>();
  #jobs = 0;

  private constructor(bus: Bus, worker: ServiceProcess, stack: AsyncDisposableStack) {
    this.#bus = bus;
    this.worker = worker;
    this.#stack = stack;
    bus.readEvents({
      startSeq: 1,
      filter: "events.batch.>",
      onBatch: (messages) => {
        for (const { data } of messages)
          for (const event of fromBinary(EventBatchSchema, data).events) this.#listeners.get(event.jobId)?.(event);
      },
    });
  }

  static async start(runtime: Runtime, env: Record<string, string>): Promise<HostileSystem> {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await startTestNats());
    const bus = stack.use(await connectBus({ servers: nats.url, name: "hostile" }));
    await bus.ensureTopology();
    const opsPort = await freePort();
    const worker = stack.use(
      new ServiceProcess(`worker on ${runtime}`, runtimes[runtime], {
        NATS_URL: nats.url,
        MILLRACE_OPS_PORT: String(opsPort),
        MILLRACE_QUEUES: "hostile,good",
        ...env,
      }),
    );
    await worker.ready(`http://127.0.0.1:${opsPort}/health/ready`);
    return new HostileSystem(bus, worker, stack.move());
  }

  /** Puts a plugin where workers find it, past every check at upload: what is refused, the worker has to refuse. */
  async install({ name, module, exports, limits = {}, granted = {} }: Installed): Promise<void> {
    await this.#bus.modules.put(module);
    const { fuel = 0, ...others } = limits;
    const { kvBytes = 0, http = [], secrets = [], events = [], jobs = [] } = granted;
    const lists = { http: [...http], secrets: [...secrets], events: [...events], jobs: [...jobs] };
    const capabilities = create(PluginCapabilitiesSchema, { ...lists, kvBytes: BigInt(kvBytes) });
    const bounds = create(PluginLimitsSchema, { ...others, fuel: BigInt(fuel) });
    const handlers = [...new Set(exports)].map((exportName) =>
      create(PluginHandlerSchema, { type: typeOf(name, exportName), export: exportName }),
    );
    const plugin = create(PluginSchema, {
      manifest: { name, version: "1.0.0", handlers, capabilities, limits: bounds },
      sha256: createHash("sha256").update(module).digest("hex"),
      sizeBytes: BigInt(module.length),
      state: PluginState.ACTIVE,
      granted: capabilities,
    });
    await this.#bus.kv("plugins").put(name, encodePluginRecord(plugin));
  }

  /** Submits a job of one attempt. @returns its last event */
  run(type: string, input = "", queue = "hostile", priority: PriorityName = "normal"): Promise<JobEvent> {
    return this.#submit(jobOf(type, queue, priority), input, ({ kind }) => ending.has(kind));
  }

  /** Submits a job that nothing runs. @returns why it waits, as its event tells */
  async whyWaiting(type: string): Promise<string> {
    const { kind, reason, errorCode } = await this.#submit(
      jobOf(type, "hostile", "normal"),
      "",
      (event) => event.kind === EventKind.PARKED || ending.has(event.kind),
    );
    return kind === EventKind.PARKED ? reason : `it ran, and ended with "${errorCode}"`;
  }

  async #submit(
    subjectOf: (id: string) => string,
    input: string,
    isIt: (event: JobEvent) => boolean,
  ): Promise<JobEvent> {
    const id = `j-${++this.#jobs}`;
    const heard = Promise.withResolvers<JobEvent>();
    this.#listeners.set(id, (event) => {
      if (isIt(event)) heard.resolve(event);
    });
    await this.#bus.publishDurable(subjectOf(id), new TextEncoder().encode(input), [[headerNames.maxAttempts, "1"]]);
    const event = await heard.promise;
    this.#listeners.delete(id);
    return event;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function jobOf(type: string, queue: string, priority: PriorityName): (id: string) => string {
  return (id) => jobSubject(priority, queue, type, id);
}
