import type { Command } from "commander";
import { sayBusy, withOutput, type CliContext } from "../../cli-context.ts";

export function buildCommand(plugin: Command, context: CliContext): void {
  plugin
    .command("build")
    .description("compile a plugin's source to <name>.wasm beside its manifest; needs no server")
    .argument("[folder]", "with plugin.yaml and the source", ".")
    .addHelpText(
      "after",
      `
The source says the language: assembly/index.ts (AssemblyScript), plugin.c (C, by clang or CLANG), src/lib.rs (Rust, by
rustc or RUSTC). A module built by other means is pushed in the same way.

Example:
  millrace plugin build my-plugin`,
    )
    .action(async (folder: string, _: object, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const { buildProject } = await import("../../project/build-project.ts");
        sayBusy(context, "compiling");
        const build = await buildProject(folder, { env: context.env, signal: context.signal });
        output.document({ ...build }, () => `${build.path}: ${build.bytes} bytes, ${build.elapsedMs} ms`);
      });
    });
}
