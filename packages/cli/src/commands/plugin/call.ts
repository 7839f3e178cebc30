import type { Command } from "commander";
import { CallPluginResponseSchema, type CallPluginRequest } from "@millrace/protocol";
import { toSubmitRequest } from "@millrace/client";
import { withSession, type CliContext } from "../../cli-context.ts";
import { exitCodes } from "../../exit-codes.ts";
import { formatError, formatPayload, formatRunTime } from "../../format-job.ts";
import { formatFields } from "../../format-table.ts";
import { duration } from "../../parse-options.ts";
import { readPayload } from "../../read-payload.ts";

/** Above the longest call that the server makes. */
const answerWithinMs = 70_000;

export function callCommand(plugin: Command, context: CliContext): void {
  plugin
    .command("call")
    .description("run one export once, outside any queue: a dry run")
    .argument("<name>")
    .argument("<export>")
    .argument("[input]", "JSON or text, - for standard input, @file for a file")
    .option("--timeout <duration>", "bound on the call", duration)
    .addHelpText("after", `\nExample:\n  millrace plugin call audit on_audit_event '{"type":"user.login"}'`)
    .action(
      async (
        name: string,
        exported: string,
        argument: string | undefined,
        options: { timeout?: number },
        command: Command,
      ) => {
        const payload = await readPayload(argument, context.stdin);
        await withSession(context, command, async ({ client, output }) => {
          const { payload: input } = toSubmitRequest({ type: "-", ...(payload === undefined ? {} : { payload }) });
          const request: Partial<Omit<CallPluginRequest, "$typeName" | "$unknown">> = {
            name,
            export: exported,
            timeoutMs: options.timeout ?? 0,
            ...(input === undefined ? {} : { input }),
          };
          const call = { signal: context.signal, timeoutMs: answerWithinMs };
          const response = await client.plugins.callPlugin(request, call);
          output.message(CallPluginResponseSchema, response, () =>
            formatFields([
              ["output", formatPayload(response.output)],
              ["error", formatError(response.error)],
              ["run time", formatRunTime(response.runUs)],
              ...response.logs.map((line): [string, string] => ["log", line]),
            ]),
          );
          if (response.error !== undefined) context.setExitCode(exitCodes.jobFailed);
        });
      },
    );
}
