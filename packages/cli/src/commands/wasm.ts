import type { Command } from "commander";
import type { JsonValue } from "@bufbuild/protobuf";
import { withOutput, type CliContext } from "../cli-context.ts";
import { wholeNumber } from "../parse-options.ts";
import { readInput } from "../read-payload.ts";
import { writeOutput } from "../write-output.ts";

interface MeterCommandOptions {
  readonly output?: string;
  readonly memoryPages: number;
  readonly tableEntries: number;
  readonly callDepth?: number;
}

/** `wasm inspect|meter`: what the sandbox makes of a module, without a server. */
export function wasmCommands(program: Command, context: CliContext): void {
  const wasm = program
    .command("wasm")
    .description("see what the sandbox makes of a WebAssembly module; needs no server");

  wasm
    .command("inspect")
    .description("say what a module is made of, and whether it can be metered")
    .argument("<file>", "a .wasm file")
    .addHelpText("after", "\nExample:\n  millrace wasm inspect audit.wasm\n  millrace wasm inspect audit.wasm --json")
    .action(async (file: string, _: object, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const [module, { inspectWasm }, { formatModule }] = await Promise.all([
          readInput(file),
          import("../wasm/meter-wasm.ts"),
          import("../wasm/format-module.ts"),
        ]);
        const report = inspectWasm(module);
        output.document(toDocument(report), () => formatModule(report));
      });
    });

  wasm
    .command("meter")
    .description("rewrite a module so that it pays fuel and keeps within its memory and tables")
    .argument("<file>", "a .wasm file")
    .option("-o, --output <file>", "where to write it (default: <file> with .metered.wasm)")
    .option("--memory-pages <n>", "limit of its memory, in pages of 64 KiB", wholeNumber, 256)
    .option("--table-entries <n>", "limit of each table", wholeNumber, 65_536)
    .option("--call-depth <n>", "limit of calls inside each other (default: 5000)", wholeNumber)
    .addHelpText(
      "after",
      "\nExample:\n  millrace wasm meter audit.wasm --memory-pages 64\n  millrace wasm meter audit.wasm -o out.wasm",
    )
    .action(async (file: string, options: MeterCommandOptions, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const { memoryPages, tableEntries, callDepth } = options;
        const path = options.output ?? `${file.replace(/\.wasm$/, "")}.metered.wasm`;
        const [module, { meterWasm }, { formatMetering }] = await Promise.all([
          readInput(file),
          import("../wasm/meter-wasm.ts"),
          import("../wasm/format-module.ts"),
        ]);
        const limits = { memoryPages, tableEntries, ...(callDepth === undefined ? {} : { callDepth }) };
        const metered = meterWasm(module, limits);
        await writeOutput(path, metered.module);
        const { report, elapsedMs } = metered;
        output.document({ path, elapsedMs, report: toDocument(report) }, () =>
          formatMetering(report, { path, elapsedMs }),
        );
      });
    });
}

/** A report is plain data; JSON.parse drops the readonly of its type. */
function toDocument(report: object): JsonValue {
  return JSON.parse(JSON.stringify(report)) as JsonValue;
}
