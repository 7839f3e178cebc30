import { Option, type Command } from "commander";
import {
  CancelJobResponseSchema,
  GetJobResponseSchema,
  isTerminal,
  JobState,
  ListJobsResponseSchema,
  MillraceError,
  priorityLevel,
  priorityName,
  priorityOrNormal,
  RetryJobResponseSchema,
  stateName,
  WatchJobResponseSchema,
  WatchJobsResponseSchema,
  type Job,
  type PriorityName,
} from "@millrace/protocol";
import { withSession, type CliContext, type Session } from "../cli-context.ts";
import { exitCodeOfState } from "../exit-codes.ts";
import { formatError, formatEvent, formatJob, formatTime } from "../format-job.ts";
import { collect, priorityChoices, states, wholeNumber } from "../parse-options.ts";
import { table } from "../output.ts";

/** `get`, `list`, `watch`, `cancel`, `retry`. */
export function jobCommands(program: Command, context: CliContext): void {
  program
    .command("get")
    .description("show one job")
    .argument("<id>")
    .action(async (id: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.jobs.getJob({ id }, { signal: context.signal });
        const { job } = response;
        output.message(GetJobResponseSchema, response, () => (job === undefined ? "" : formatJob(job)));
      });
    });

  program
    .command("list")
    .description("list jobs, newest first")
    .option("-q, --queue <name>", "of one queue")
    .option("-s, --state <state>", "in this state; several with commas", states)
    .option("--type <type>", "of one type")
    .addOption(new Option("-p, --priority <name>", "of one priority").choices(priorityChoices))
    .option("-t, --tag <tag>", "with this tag")
    .option("--correlation-id <id>", "with this correlation id")
    .option("--owner <id>", "that this user submitted; me: whoever is signed in")
    .option("-n, --limit <n>", "how many, at most 500", wholeNumber, 50)
    .option("--page-token <token>", "go on where the last page ended")
    .action(async (options: ListOptions, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const {
          queue = "",
          state = [],
          type = "",
          priority,
          tag = "",
          correlationId = "",
          owner = "",
          limit,
          pageToken = "",
        } = options;
        const response = await client.jobs.listJobs(
          {
            queue,
            type,
            states: [...state],
            tag,
            correlationId,
            owner: owner === "me" ? await ownId(client, context.signal) : owner,
            pageSize: limit,
            pageToken,
            ...(priority === undefined ? {} : { priority: priorityLevel(priority) }),
          },
          { signal: context.signal },
        );
        output.message(ListJobsResponseSchema, response, () =>
          table(response.jobs, jobColumns, "no jobs", response.nextPageToken),
        );
      });
    });

  program
    .command("watch")
    .description("follow one job to its end, or the events of all jobs")
    .argument("[id]")
    .option("-q, --queue <name>", "of one queue")
    .option("--type <type>", "of one type")
    .option("-k, --kind <kind>", "of one kind: submitted, succeeded, dead, …; may be given several times", collect)
    .option("--correlation-id <id>", "with this correlation id")
    .option("--resume-after <position>", "after the position of an earlier event")
    .action(async (id: string | undefined, options: WatchOptions, command: Command) => {
      const { resumeAfter, queue = "", type = "", kind = [], correlationId = "" } = options;
      const resume = { signal: context.signal, ...(resumeAfter === undefined ? {} : { resumeAfter }) };
      if (id !== undefined && (queue || type || correlationId || kind.length > 0)) {
        throw new MillraceError("invalid_argument", "a filter does not go with an id");
      }
      await withSession(context, command, async ({ client, output }) => {
        if (id === undefined) {
          for await (const message of client.watchAll({ queue, type, kinds: kind, correlationId }, resume)) {
            const { event } = message;
            if (event !== undefined) output.line(WatchJobsResponseSchema, message, () => formatEvent(event));
          }
          return;
        }
        for await (const message of client.watch(id, resume)) {
          const { update } = message;
          if (update.value === undefined) continue;
          output.line(WatchJobResponseSchema, message, () =>
            update.case === "event" ? formatEvent(update.value) : formatJob(update.value),
          );
          if (isTerminal(update.value.state)) context.setExitCode(exitCodeOfState(update.value.state));
        }
      });
    });

  program
    .command("cancel")
    .description("cancel a job that has not ended")
    .argument("<id>")
    .option("--reason <text>", "why")
    .action(async (id: string, { reason = "" }: { reason?: string }, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.jobs.cancelJob({ id, reason }, { signal: context.signal });
        output.message(CancelJobResponseSchema, response, () =>
          response.state === JobState.CANCELLED ? `${id} is cancelled` : `${id} is being cancelled`,
        );
      });
    });

  program
    .command("retry")
    .description("run a dead, cancelled or expired job again")
    .argument("<id>")
    .action(async (id: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.jobs.retryJob({ id }, { signal: context.signal });
        output.message(
          RetryJobResponseSchema,
          response,
          () => `${response.id} runs again, run ${response.run}${response.visible ? "" : "; its row follows"}`,
        );
      });
    });
}

async function ownId({ auth }: Session["client"], signal: AbortSignal): Promise<string> {
  return (await auth.getMe({}, { signal })).user?.id ?? "";
}

interface ListOptions {
  readonly queue?: string;
  readonly state?: readonly JobState[];
  readonly type?: string;
  readonly priority?: PriorityName;
  readonly tag?: string;
  readonly correlationId?: string;
  readonly owner?: string;
  readonly limit: number;
  readonly pageToken?: string;
}

interface WatchOptions {
  readonly queue?: string;
  readonly type?: string;
  readonly kind?: readonly string[];
  readonly correlationId?: string;
  readonly resumeAfter?: string;
}

/** A table's line should not wrap for one long reason; `get` shows it whole. */
const mostReasonChars = 60;

function shorten(text: string): string {
  return text.length <= mostReasonChars ? text : `${text.slice(0, mostReasonChars - 1)}…`;
}

const jobColumns = [
  { head: "id", cell: (job: Job) => job.id },
  { head: "state", cell: (job: Job) => stateName(job.state) },
  { head: "queue", cell: (job: Job) => job.queue },
  { head: "type", cell: (job: Job) => job.type },
  { head: "priority", cell: (job: Job) => priorityName(priorityOrNormal(job.priority)) },
  { head: "attempt", cell: (job: Job) => `${job.attempt}/${job.maxAttempts}`, align: "right" as const },
  { head: "submitted", cell: (job: Job) => formatTime(job.submittedAt) },
  { head: "why", cell: (job: Job) => shorten(formatError(job.error) || job.waitReason) },
];
