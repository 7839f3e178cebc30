import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { InvalidArgumentError, type Command } from "commander";
import {
  AuditVerdictSchema,
  ListAuditEntriesResponseSchema,
  MillraceError,
  type AuditEntry,
  type AuditVerdict,
} from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { exitCodes } from "../exit-codes.ts";
import { formatTime } from "../format-job.ts";
import { table } from "../output.ts";
import { pastInstant, wholeNumber } from "../parse-options.ts";

interface ListOptions {
  readonly user?: string;
  readonly email?: string;
  readonly token?: string;
  readonly address?: string;
  readonly action?: string;
  readonly object?: string;
  readonly result?: string;
  readonly request?: string;
  readonly since?: Date;
  readonly until?: Date;
  readonly limit: number;
  readonly pageToken?: string;
}

interface KnownHash {
  readonly knownSeq: bigint;
  readonly knownHash: string;
}

/** `audit list|verify`. */
export function auditCommands(program: Command, context: CliContext): void {
  const audit = program.command("audit").description("who did what, and whether the trail is whole");

  audit
    .command("list")
    .description("list entries, newest first")
    .option("--user <id>", "only of this user")
    .option("--email <email>", "only of the user with this email")
    .option("--token <id>", "only with this API token")
    .option("--address <ip>", "only from this address")
    .option("--action <action>", "only this, such as JobService/CancelJob; JobService/ for all of a service")
    .option("--object <id>", "only about this")
    .option("--result <result>", "ok, a code such as permission_denied, or refused: everything but ok")
    .option("--request <id>", "only of this request")
    .option("--since <time>", "RFC 3339, or a duration that has passed since, such as 2h", pastInstant)
    .option("--until <time>", "the same", pastInstant)
    .option("-n, --limit <n>", "entries on a page", wholeNumber, 50)
    .option("--page-token <token>", "the next page")
    .addHelpText(
      "after",
      "\nExample:\n  millrace audit list --since 1d --result refused\n  millrace audit list --object 01HXYZ…",
    )
    .action(async (options: ListOptions, command: Command) => {
      const { user = "", email = "", token = "", request = "", since, until, limit, pageToken = "" } = options;
      const { address = "", action = "", object = "", result = "" } = options;
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.audit.listAuditEntries(
          {
            userId: user,
            email,
            tokenId: token,
            address,
            action,
            object,
            result,
            requestId: request,
            ...(since === undefined ? {} : { after: timestampFromDate(since) }),
            ...(until === undefined ? {} : { before: timestampFromDate(until) }),
            pageSize: limit,
            pageToken,
          },
          { signal: context.signal },
        );
        output.message(ListAuditEntriesResponseSchema, response, () =>
          table(response.entries, entryColumns, "no entries", response.nextPageToken),
        );
      });
    });

  audit
    .command("verify")
    .description("recompute the whole chain of hashes; ends with 1 when it is broken")
    .option("--known <seq:hash>", "what an earlier run printed: a trail made anew as a whole does not have it", known)
    .action(async ({ known: noted }: { known?: KnownHash }, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        let verdict: AuditVerdict | undefined;
        const request = noted ?? {};
        for await (const answer of client.audit.verifyAudit(request, { signal: context.signal, timeoutMs: 0 })) {
          verdict = answer.verdict;
          if (context.stderr.isTTY === true) context.stderr.write(`\r${answer.checked} of ${answer.total} checked `);
        }
        if (context.stderr.isTTY === true) context.stderr.write("\n");
        const end = verdict;
        if (end === undefined) throw new MillraceError("internal", "the server gave no verdict");
        if (!end.intact) context.setExitCode(exitCodes.jobFailed);
        output.message(AuditVerdictSchema, end, () => verdictText(end));
      });
    });
}

function verdictText({ intact, brokenSeq, reason, lastSeq, lastHash, prunedSeq }: AuditVerdict): string {
  const count = lastSeq - prunedSeq;
  // An earlier entry that is not the one noted: what follows it holds together, and is made anew all the same.
  if (!intact && brokenSeq <= lastSeq) return `broken at entry ${brokenSeq}: ${reason}`;
  if (!intact) return `broken at entry ${brokenSeq}: ${reason}\n${count} entries before it hold`;
  if (lastSeq === 0n) return "intact: no entries";
  const pruned = prunedSeq === 0n ? "" : `, after ${prunedSeq} that were pruned for their age`;
  return `intact: ${count} entries${pruned}\nNote for the next time: --known ${lastSeq}:${lastHash}`;
}

function known(text: string): KnownHash {
  const match = /^([1-9]\d{0,15}):([0-9a-f]{64})$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new InvalidArgumentError("It must be a number, a colon, and 64 hexadecimal digits.");
  }
  return { knownSeq: BigInt(match[1]), knownHash: match[2] };
}

const entryColumns = [
  { head: "seq", cell: (entry: AuditEntry) => entry.seq, align: "right" as const },
  { head: "at", cell: (entry: AuditEntry) => formatTime(entry.at) },
  { head: "who", cell: ({ actor }: AuditEntry) => actor?.email || actor?.userId || "" },
  { head: "from", cell: (entry: AuditEntry) => entry.address },
  { head: "action", cell: (entry: AuditEntry) => entry.action },
  { head: "object", cell: (entry: AuditEntry) => entry.object },
  { head: "result", cell: (entry: AuditEntry) => entry.result },
];
