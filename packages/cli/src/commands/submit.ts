import { Option, type Command } from "commander";
import type { JobSpec } from "@millrace/client";
import { JobResultSchema, type BackoffPolicy, type PriorityName } from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { exitCodeOfState } from "../exit-codes.ts";
import { formatResult } from "../format-job.ts";
import { collect, duration, instant, priorityChoices, wholeNumber } from "../parse-options.ts";
import { readPayload } from "../read-payload.ts";

interface SubmitOptions {
  readonly queue?: string;
  readonly priority?: PriorityName;
  readonly id?: string;
  readonly tag?: readonly string[];
  readonly runAt?: Date;
  readonly deadline?: Date;
  readonly maxAttempts?: number;
  readonly timeout?: number;
  readonly backoff?: BackoffPolicy["kind"];
  readonly backoffBase?: number;
  readonly backoffMax?: number;
  readonly uniqueKey?: string;
  readonly correlationId?: string;
  readonly contentType?: string;
  readonly wait?: number | true;
}

const defaultWaitMs = 60_000;

export function submitCommand(program: Command, context: CliContext): void {
  program
    .command("submit")
    .description("submit a job")
    .argument("<type>", "what kind of work")
    .argument("[payload]", "the handler's input: JSON or text, - for standard input, @file for a file")
    .option("-q, --queue <name>", "queue (default: default)")
    .addOption(new Option("-p, --priority <name>", "priority (default: normal)").choices(priorityChoices))
    .option("--id <id>", "the job's id; the same id within 20 s is accepted once")
    .option("-t, --tag <tag>", "tag; may be given several times", collect)
    .option("--run-at <time>", "not before: 2030-01-31T12:00:00Z, or +10m", instant)
    .option("--deadline <time>", "expires when not started by then", instant)
    .option("--max-attempts <n>", "runs before the job is dead (default: 5)", wholeNumber)
    .option("--timeout <duration>", "bound on one attempt", duration)
    .addOption(new Option("--backoff <kind>", "how retries wait").choices(["exponential", "linear", "fixed"]))
    .option("--backoff-base <duration>", "the first delay", duration)
    .option("--backoff-max <duration>", "no delay is longer", duration)
    .option("--unique-key <key>", "at most one unfinished job has this key")
    .option("--correlation-id <id>", "to find what belongs together")
    .option("--content-type <type>", "media type of the payload")
    .option("-w, --wait [duration]", "wait for the job's end and print its result (default: 60s)", duration)
    .action(async (type: string, argument: string | undefined, options: SubmitOptions, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const job = toJobSpec(type, await readPayload(argument, context.stdin), options);
        if (options.wait === undefined) {
          const accepted = await client.submit(job, { signal: context.signal });
          output.document({ ...accepted }, () => accepted.id + (accepted.duplicate ? "  (accepted before)" : ""));
          return;
        }
        const timeoutMs = options.wait === true ? defaultWaitMs : options.wait;
        const result = await client.submitAndWait(job, { timeoutMs, signal: context.signal });
        output.message(JobResultSchema, result, () => formatResult(result));
        context.setExitCode(exitCodeOfState(result.state));
      });
    });
}

function toJobSpec(type: string, payload: JobSpec["payload"], options: SubmitOptions): JobSpec {
  const { queue, priority, id, tag, runAt, deadline, maxAttempts, timeout, uniqueKey, correlationId, contentType } =
    options;
  const backoff = defined({ kind: options.backoff, baseMs: options.backoffBase, maxMs: options.backoffMax });
  return {
    type,
    ...defined({ payload, queue, priority, id, tags: tag, runAt, deadline, maxAttempts, timeoutMs: timeout }),
    ...defined({ uniqueKey, correlationId, contentType }),
    ...(Object.keys(backoff).length === 0 ? {} : { backoff }),
  };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the members that are undefined. */
function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Defined<T>;
}
