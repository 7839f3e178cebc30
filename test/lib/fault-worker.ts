/**
 * A worker process for the fault tests, with a lease short enough to watch it run out. Prints `ready`, and `running <id>`
 * when a job of type `hold` has begun; such a job ends only when its process does, unless another process runs it later.
 */
import { startWorker } from "@millrace/worker";

const { NATS_URL = "", FAULT_QUEUE = "", FAULT_HOLDS = "", FAULT_ACK_WAIT_MS = "2000" } = process.env;
const never = new Promise<undefined>(() => undefined);

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const worker = await startWorker({
  queues: [FAULT_QUEUE],
  natsUrl: NATS_URL,
  executors: 0,
  slots: 64,
  ackWaitMs: Number(FAULT_ACK_WAIT_MS),
  handlers: {
    work: async () => {
      await sleep(2);
      return { by: process.pid };
    },
    hold: async (job) => {
      process.stdout.write(`running ${job.id}\n`);
      if (FAULT_HOLDS === "yes") await never;
      return { by: process.pid };
    },
    // Fails once, so that retries are under way too.
    stumble: async (job) => {
      if (job.attempt === 1) throw new Error("the first attempt fails");
      return { by: process.pid };
    },
  },
});

process.once("SIGTERM", () => {
  void worker[Symbol.asyncDispose]().then(() => process.exit(0));
});
process.stdout.write("ready\n");
