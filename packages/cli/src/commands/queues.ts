import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { ListQueuesResponseSchema, MillraceError, priorityName, type QueueStats } from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { table } from "../output.ts";
import { byteSize, wholeNumber } from "../parse-options.ts";

/** `queues`, `queue pause`, `queue resume`, `queue limit`. */
export function queueCommands(program: Command, context: CliContext): void {
  program
    .command("queues")
    .description("show what waits, runs and ended, by queue")
    .argument("[name]", "only this queue")
    .action(async (name: string | undefined, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const call = { signal: context.signal };
        let queues: QueueStats[];
        if (name === undefined) queues = (await client.jobs.listQueues({}, call)).queues;
        else {
          const { stats } = await client.jobs.getQueueStats({ queue: name }, call);
          queues = stats === undefined ? [] : [stats];
        }
        output.message(ListQueuesResponseSchema, create(ListQueuesResponseSchema, { queues }), () =>
          table(queues, queueColumns, "no queues"),
        );
      });
    });

  const queue = program.command("queue").description("steer a queue");
  queue
    .command("pause")
    .description("start no more jobs of a queue; running ones go on")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        await client.jobs.pauseQueue({ queue: name }, { signal: context.signal });
        output.document({ queue: name, paused: true }, () => `${name} is paused`);
      });
    });
  queue
    .command("resume")
    .description("let a paused queue run again")
    .argument("<name>")
    .action(async (name: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        await client.jobs.resumeQueue({ queue: name }, { signal: context.signal });
        output.document({ queue: name, paused: false }, () => `${name} runs`);
      });
    });
  queue
    .command("limit")
    .description("bound what may wait in a queue; submissions beyond it are refused, plain publishes are not")
    .argument("<name>")
    .option("--jobs <number>", "jobs that may be scheduled, queued or retrying; 0: any number", wholeNumber)
    .option("--bytes <size>", "bytes of their payloads, such as 500MB or 2GiB; 0: any number", byteSize)
    .addHelpText(
      "after",
      "\nWhat is left out stays as it is.\n\nExample:\n  millrace queue limit emails --jobs 100000 --bytes 2GiB",
    )
    .action(async (name: string, { jobs, bytes }: { jobs?: number; bytes?: number }, command: Command) => {
      if (jobs === undefined && bytes === undefined) {
        throw new MillraceError("invalid_argument", "say what is bounded: --jobs <number>, --bytes <size>, or both");
      }
      await withSession(context, command, async ({ client, output }) => {
        const call = { signal: context.signal };
        const { stats } = await client.jobs.getQueueStats({ queue: name }, call);
        const limits = {
          maxWaitingJobs: jobs === undefined ? (stats?.maxWaitingJobs ?? 0n) : BigInt(jobs),
          maxWaitingBytes: bytes === undefined ? (stats?.maxWaitingBytes ?? 0n) : BigInt(bytes),
        };
        await client.jobs.setQueueLimits({ queue: name, ...limits }, call);
        const { maxWaitingJobs, maxWaitingBytes } = limits;
        const document = { queue: name, maxWaitingJobs: `${maxWaitingJobs}`, maxWaitingBytes: `${maxWaitingBytes}` };
        output.document(document, () => `in ${name} may wait: ${boundWords(limits)}`);
      });
    });
}

function boundWords({
  maxWaitingJobs,
  maxWaitingBytes,
}: Pick<QueueStats, "maxWaitingJobs" | "maxWaitingBytes">): string {
  const words = (bound: bigint, what: string): string => (bound === 0n ? `any number of ${what}` : `${bound} ${what}`);
  return `${words(maxWaitingJobs, "jobs")}, ${words(maxWaitingBytes, "bytes")}`;
}

function count(head: string, cell: (stats: QueueStats) => bigint) {
  return { head, cell, align: "right" as const };
}

const queueColumns = [
  { head: "queue", cell: (stats: QueueStats) => stats.queue + (stats.paused ? " (paused)" : "") },
  count("scheduled", (stats) => stats.scheduled),
  count("queued", (stats) => stats.queued),
  count("running", (stats) => stats.running),
  count("retrying", (stats) => stats.retrying),
  count("succeeded", (stats) => stats.succeeded),
  count("dead", (stats) => stats.dead),
  count("cancelled", (stats) => stats.cancelled),
  count("expired", (stats) => stats.expired),
  {
    head: "waiting by priority",
    cell: (stats: QueueStats) =>
      stats.waiting
        .filter(({ count, priority }) => count > 0n && priority !== 0)
        .map(({ priority, count }) => `${priorityName(priority)} ${count}`)
        .join(", "),
  },
];
