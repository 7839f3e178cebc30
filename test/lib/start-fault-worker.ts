import { createInterface } from "node:readline";
import { ServiceProcess } from "./process.ts";

export interface FaultWorkerOptions {
  readonly natsUrl: string;
  readonly queue: string;
  /** Jobs of type `hold` never end here. */
  readonly holds?: boolean;
  readonly ackWaitMs?: number;
}

export interface FaultWorker extends AsyncDisposable {
  readonly process: ServiceProcess;
  /** Resolves when the handler of this job of type `hold` has begun. */
  whenRunning(id: string): Promise<void>;
  kill9(): Promise<void>;
}

/** `fault-worker.ts` in a process of its own, once it takes jobs. */
export async function startFaultWorker(options: FaultWorkerOptions): Promise<FaultWorker> {
  const child = new ServiceProcess("fault-worker", [process.execPath, "test/lib/fault-worker.ts"], {
    NATS_URL: options.natsUrl,
    FAULT_QUEUE: options.queue,
    FAULT_HOLDS: options.holds === true ? "yes" : "no",
    FAULT_ACK_WAIT_MS: String(options.ackWaitMs ?? 2000),
  });
  const seen = new Set<string>();
  const waiting = new Map<string, () => void>();
  const stdout = child.child.stdout;
  if (stdout === null) throw new Error("no stdout");
  createInterface({ input: stdout }).on("line", (line) => {
    seen.add(line);
    waiting.get(line)?.();
  });
  const whenSeen = async (line: string): Promise<void> => {
    if (seen.has(line)) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    waiting.set(line, resolve);
    const ended = (): void => reject(new Error(`the worker ended before "${line}":\n${child.output}`));
    child.child.once("exit", ended);
    try {
      await promise;
    } finally {
      child.child.off("exit", ended);
    }
  };
  await whenSeen("ready");
  return {
    process: child,
    whenRunning: (id) => whenSeen(`running ${id}`),
    kill9: () => child.kill("SIGKILL"),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}
