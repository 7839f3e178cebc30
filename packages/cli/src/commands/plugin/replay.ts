import type { Command } from "commander";
import { MillraceError, type Recording } from "@millrace/protocol";
import type { CallResult } from "@millrace/plugin-host";
import { withSession, type CliContext } from "../../cli-context.ts";
import { exitCodes } from "../../exit-codes.ts";
import { formatError } from "../../format-job.ts";
import { formatFields } from "../../format-table.ts";
import { formatCallError } from "../../local/format-call-error.ts";
import { readPluginPackage } from "../../read-plugin-package.ts";

/** Ends that come from outside of the module: a replay has no clock and no neighbours. */
const endedFromOutside: ReadonlySet<string> = new Set(["TIMED_OUT", "DEADLINE_EXCEEDED", "CRASHED", "CANCELLED"]);

export function replayCommand(plugin: Command, context: CliContext): void {
  plugin
    .command("replay")
    .description("run a failed call again, here, from what the platform recorded: input, clock and host answers")
    .argument("<job-id>")
    .argument("[path]", "the plugin's folder, or its .wasm file with the manifest beside it", ".")
    .addHelpText(
      "after",
      `
With the module that failed it ends the same way, with the same fuel (exit code 0; 1 when it does not).
With a module that was changed it shows whether the change helps (exit code 0; 1 when it fails still).

Example:
  millrace plugin replay 01HXYZ… plugins/audit`,
    )
    .action(async (jobId: string, path: string, _: object, command: Command) => {
      const { module, sha256 } = await readPluginPackage(path);
      await withSession(context, command, async ({ client, output }) => {
        const { recording } = await client.plugins.getRecording({ jobId }, { signal: context.signal });
        if (recording?.manifest === undefined) throw new MillraceError("not_found", `job ${jobId} was not recorded`);
        const { loadLocalPlugin } = await import("../../local/load-local-plugin.ts");
        const plugin = await loadLocalPlugin(recording.manifest, module, recording.granted);
        const result = await plugin.replay(recording.export, recording.input, recording);
        const verdict = judge(recording, result, recording.sha256 === sha256);
        output.document(
          { ...verdict, recorded: ended(recording), replayed: shown(result), fuel: String(result.fuel) },
          () =>
            formatFields([
              ["job", jobId],
              ["plugin", `${recording.manifest?.name ?? ""} ${recording.manifest?.version ?? ""}, ${recording.export}`],
              ["recorded", `${ended(recording)}, fuel ${recording.fuel}`],
              ["replayed", `${shown(result)}, fuel ${result.fuel}`],
              ["verdict", verdict.words],
              ...result.logs.map(({ level, text }): [string, string] => ["log", `${level}: ${text}`]),
            ]),
        );
        if (!verdict.ok) context.setExitCode(exitCodes.jobFailed);
      });
    });
}

interface Verdict {
  readonly ok: boolean;
  readonly sameModule: boolean;
  readonly words: string;
}

function judge(recording: Recording, result: CallResult, sameModule: boolean): Verdict {
  if (!sameModule) {
    return {
      ok: result.ok,
      sameModule,
      words: `another module than the one that failed; it ${result.ok ? "succeeds" : "fails"}`,
    };
  }
  const code = recording.error?.code ?? "";
  const same = !result.ok && result.code === code && result.message === recording.error?.message;
  if (same && BigInt(result.fuel) === recording.fuel) return { ok: true, sameModule, words: "the same, bit for bit" };
  if (endedFromOutside.has(code)) {
    return {
      ok: false,
      sameModule,
      words: `${code} came from outside of the module: a replay has neither clock nor neighbours`,
    };
  }
  return { ok: false, sameModule, words: same ? "the same error with other fuel" : "not the same end" };
}

function ended({ error }: Recording): string {
  return formatError(error);
}

function shown(result: CallResult): string {
  return result.ok ? `succeeded, ${result.output.length} bytes` : `${result.code}: ${formatCallError(result)}`;
}
