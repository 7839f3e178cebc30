import { Option, type Command } from "commander";
import { withOutput, type CliContext } from "../../cli-context.ts";
import { createProject } from "../../project/create-project.ts";
import { pluginLanguages, type PluginLanguage } from "../../project/plugin-language.ts";

interface NewOptions {
  readonly language: PluginLanguage;
  readonly folder?: string;
}

const nextSteps: Readonly<Record<PluginLanguage, readonly string[]>> = {
  assemblyscript: ["npm install"],
  c: [],
  rust: [],
};

export function newCommand(plugin: Command, context: CliContext): void {
  plugin
    .command("new")
    .description("write a small plugin project that builds and passes its tests as it stands")
    .argument("<name>", "of the plugin: a-z, 0-9, _ and -")
    .addOption(new Option("-l, --language <name>", "of its source").choices(pluginLanguages).default("assemblyscript"))
    .option("--folder <path>", "where (default: ./<name>)")
    .addHelpText(
      "after",
      "\nExample:\n  millrace plugin new thumbnails\n  millrace plugin new thumbnails --language rust",
    )
    .action(async (name: string, options: NewOptions, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const { language, folder = name } = options;
        const files = await createProject({ name, language, folder });
        const steps = [`cd ${folder}`, ...nextSteps[language], "millrace plugin build", "millrace plugin test"];
        output.document({ name, language, folder, files }, () =>
          [...files.map((file) => `${folder}/${file}`), "", "Next:", ...steps.map((step) => `  ${step}`)].join("\n"),
        );
      });
    });
}
