import type { JsonValue } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { MillraceError } from "@millrace/protocol";
import { withOutput, type CliContext } from "../../cli-context.ts";
import { exitCodes } from "../../exit-codes.ts";
import { formatTable, printable } from "../../format-table.ts";
import type { TestRun } from "../../local/run-plugin-test.ts";
import { readPluginPackage } from "../../read-plugin-package.ts";

/** Of linear memory. */
const pageBytes = 65_536;

export function testCommand(plugin: Command, context: CliContext): void {
  plugin
    .command("test")
    .description("run a plugin's recorded inputs (tests/*.json) here, under the limits of production; needs no server")
    .argument("[folder]", "with plugin.yaml and the module", ".")
    .option("-u, --update", "write down how each call ends at present")
    .addHelpText(
      "after",
      `
A test says which export, its input, and how it has to end:
  { "export": "count_words", "input": "three short words", "expect": { "output": { "words": 3 } } }
It may bring "secrets", "kv" and "http" answers, and expect "events" and "jobs"; docs/plugins.md has all of it.

Example:
  millrace plugin test plugins/audit
  millrace plugin test --update`,
    )
    .action(async (folder: string, { update }: { update?: true }, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const { manifest, module } = await readPluginPackage(folder);
        // Loaded here: most commands need no sandbox.
        const [
          { inspect },
          { capabilitiesOf },
          { loadLocalPlugin },
          { runPluginTest },
          { readTests, writeExpectation },
        ] = await Promise.all([
          import("@millrace/wasm-meter"),
          import("@millrace/plugin-host"),
          import("../../local/load-local-plugin.ts"),
          import("../../local/run-plugin-test.ts"),
          import("../../local/test-file.ts"),
        ]);
        const tests = await readTests(folder);
        if (tests.length === 0) {
          throw new MillraceError(
            "invalid_argument",
            `${folder}/tests holds no .json; see millrace plugin test --help`,
          );
        }
        const plugin = await loadLocalPlugin(manifest, module, manifest.capabilities);
        const runs: TestRun[] = [];
        for (const test of tests) {
          const run = await runPluginTest(plugin, capabilitiesOf(manifest.capabilities), test);
          const updated = update === true && run.problems.length > 0;
          if (updated) await writeExpectation(test, run.actual);
          runs.push(updated ? { ...run, problems: [] } : run);
        }
        const failed = runs.filter(({ problems }) => problems.length > 0);
        const memory = {
          start: inspect(module).memory?.min ?? 0,
          peak: Math.max(...runs.map(({ memoryBytes }) => memoryBytes)) / pageBytes,
          limit: plugin.limits.memoryPages,
        };
        const counts = { passed: runs.length - failed.length, failed: failed.length };
        output.document({ ...counts, memory, tests: toJson(runs) }, () =>
          [
            formatRuns(runs, failed),
            `memory: ${memory.peak} pages of 64 KiB at most; it starts with ${memory.start}, and may have ${memory.limit}`,
            `${counts.passed} passed, ${counts.failed} failed`,
          ].join("\n\n"),
        );
        if (failed.length > 0) context.setExitCode(exitCodes.jobFailed);
      });
    });
}

function toJson(runs: readonly TestRun[]): JsonValue {
  return JSON.parse(JSON.stringify(runs)) as JsonValue;
}

function formatRuns(runs: readonly TestRun[], failed: readonly TestRun[]): string {
  const figures = formatTable(runs, [
    { head: "test", cell: ({ name }) => name },
    { head: "export", cell: (run) => run.export },
    { head: "", cell: ({ problems }) => (problems.length === 0 ? "ok" : "FAILED") },
    { head: "fuel", cell: ({ fuel }) => fuel, align: "right" },
    { head: "ms", cell: ({ durationUs }) => (durationUs / 1000).toFixed(3), align: "right" },
    { head: "pages", cell: ({ memoryBytes }) => memoryBytes / pageBytes, align: "right" },
  ]);
  const details = failed.map(({ name, problems, logs }) =>
    [`${name}:`, ...[...problems, ...logs.map((line) => `log ${line}`)].map(indented)].join("\n"),
  );
  return [figures, ...details].join("\n\n");
}

function indented(text: string): string {
  return `  ${printable(text, true).replaceAll("\n", "\n  ")}`;
}
