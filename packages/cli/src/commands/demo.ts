import { Option, type Command } from "commander";
import { withSession, type CliContext } from "../cli-context.ts";
import { exitCodes } from "../exit-codes.ts";
import { wholeNumber } from "../parse-options.ts";
import { findNatsUrl } from "../runtime-file.ts";

interface DemoCommandOptions {
  readonly queue: string;
  readonly limit?: number;
  readonly via: "auto" | "connect";
}

export function demoCommand(program: Command, context: CliContext): void {
  program
    .command("demo")
    .description("run one job for each record of a public data set, and check every result")
    .option("-q, --queue <name>", "queue", "demo")
    .option("-n, --limit <n>", "only the first records", wholeNumber)
    .addOption(
      new Option("--via <door>", "auto: over NATS where it can be found (NATS_URL, MILLRACE_DATA_DIR), else Connect")
        .choices(["auto", "connect"])
        .default("auto"),
    )
    .action(async ({ queue, limit, via }: DemoCommandOptions, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        // Loaded here: no other command needs a NATS client.
        const [{ flightsDemo: demo }, { formatReport, reportJson }, { createProgress }, { runDemo }] =
          await Promise.all([
            import("../demo/flights-demo.ts"),
            import("../demo/format-report.ts"),
            import("../demo/progress.ts"),
            import("../demo/run-demo.ts"),
          ]);
        const natsUrl = via === "connect" ? undefined : await findNatsUrl(context.env, client.baseUrl);
        const report = await (async () => {
          using progress = createProgress(context.stderr);
          return runDemo(client, progress, { demo, queue, limit, natsUrl, signal: context.signal });
        })();
        output.document(reportJson(demo, report), () => formatReport(demo, report));
        if (!report.ok) context.setExitCode(exitCodes.jobFailed);
      });
    });
}
