import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { ListQueuesResponseSchema, priorityName, type QueueStats } from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { table } from "../output.ts";

/** `queues`, `queue pause`, `queue resume`. */
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
