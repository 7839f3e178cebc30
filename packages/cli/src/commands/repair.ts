import type { Command } from "commander";
import { RepairLogsResponseSchema, type RepairLogsResponse, type StrandedJob } from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { exitCodes } from "../exit-codes.ts";
import { table } from "../output.ts";

/** The server waits for its rows, and for what a worker may have in hand. */
const timeoutMs = 110_000;

/** `repair`: what the logs have lost, published again. */
export function repairCommand(program: Command, context: CliContext): void {
  program
    .command("repair")
    .description("find unfinished jobs that nobody would deliver any more; with --apply, publish them again")
    .option("--apply", "publish them again; without it, only show them")
    .addHelpText(
      "after",
      "\nThe system does this by itself, unless a log has a gap or the database was restored: look first, then apply.",
    )
    .action(async ({ apply = false }: { apply?: boolean }, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const call = { signal: context.signal, timeoutMs };
        const response = await client.logs.repairLogs({ dryRun: !apply }, call);
        output.message(RepairLogsResponseSchema, response, () => report(response, apply));
        if (!response.ok) context.setExitCode(exitCodes.refused);
      });
    });
}

function report({ ok, reason, looked, jobs, repaired }: RepairLogsResponse, apply: boolean): string {
  const found = table(jobs, columns, "no job is stranded");
  const end = apply ? `${repaired} published again` : "nothing was changed: --apply publishes them again";
  const lines = [found, `${looked} unfinished jobs looked at; ${jobs.length === 0 && !apply ? "nothing to do" : end}`];
  if (reason !== "") lines.push(`${ok ? "note" : "not done"}: ${reason}`);
  return lines.join("\n");
}

const columns = [
  { head: "job", cell: (job: StrandedJob) => job.id },
  { head: "lay in", cell: (job: StrandedJob) => (job.stream === "" ? "" : `${job.stream} ${job.seq}`) },
  { head: "why", cell: (job: StrandedJob) => job.why },
];
