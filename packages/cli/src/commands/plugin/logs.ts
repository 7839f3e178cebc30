import type { Command } from "commander";
import { WatchPluginLogsResponseSchema } from "@millrace/protocol";
import { withSession, type CliContext } from "../../cli-context.ts";
import { formatLogLine } from "../../format-plugin.ts";
import { duration } from "../../parse-options.ts";

interface LogsOptions {
  readonly follow?: true;
  readonly for?: number;
}

const defaultMs = 10_000;

export function logsCommand(plugin: Command, context: CliContext): void {
  plugin
    .command("logs")
    .description("show what a plugin logs on all workers, from here on")
    .argument("<name>")
    .option("-f, --follow", "until interrupted")
    .option("--for <duration>", "without -f: how long (default: 10s)", duration)
    .addHelpText("after", "\nExample:\n  millrace plugin logs audit -f\n  millrace plugin logs audit --for 1m --json")
    .action(async (name: string, options: LogsOptions, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const over = options.follow === true ? undefined : AbortSignal.timeout(options.for ?? defaultMs);
        const signal = over === undefined ? context.signal : AbortSignal.any([context.signal, over]);
        try {
          for await (const line of client.watchPluginLogs(name, { signal })) {
            output.line(WatchPluginLogsResponseSchema, line, () => formatLogLine(line));
          }
        } catch (error) {
          if (over?.aborted !== true) throw error;
        }
      });
    });
}
