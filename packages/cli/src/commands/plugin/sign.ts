import type { Command } from "commander";
import { PluginSignatureSchema } from "@millrace/protocol";
import { withOutput, type CliContext } from "../../cli-context.ts";
import { formatFields } from "../../format-table.ts";
import { readPluginPackage } from "../../read-plugin-package.ts";
import { writeSignature } from "../../signing/signature-file.ts";
import { createSigningKey, signWithKey } from "../../signing/signing-key.ts";

/** `plugin keygen|sign`: without a server. */
export function signCommands(plugin: Command, context: CliContext): void {
  plugin
    .command("keygen")
    .description("make an ed25519 key to sign plugins with")
    .argument("<file>", "where the private key goes; the public one goes to <file>.pub")
    .addHelpText("after", "\nExample:\n  millrace plugin keygen ~/.millrace/ada.pem")
    .action(async (path: string, _: object, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const key = await createSigningKey(path);
        output.document({ ...key }, () =>
          formatFields([
            ["key id", key.keyId],
            ["private", `${key.privatePath}; keep it to yourself`],
            ["public", `${key.publicPath}; an operator trusts it with: millrace plugin keys trust ${key.publicPath}`],
          ]),
        );
      });
    });

  plugin
    .command("sign")
    .description("sign a plugin: manifest and module together; writes plugin.sig beside the manifest")
    .argument("[folder]", "with plugin.yaml and the module", ".")
    .requiredOption("-k, --key <file>", "the private key")
    .addHelpText("after", "\nExample:\n  millrace plugin sign plugins/audit --key ~/.millrace/ada.pem")
    .action(async (folder: string, { key }: { key: string }, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const { manifest, sha256, folder: beside } = await readPluginPackage(folder);
        const signature = await signWithKey({ manifest, sha256 }, key);
        const path = await writeSignature(beside, signature);
        output.message(PluginSignatureSchema, signature, () =>
          formatFields([
            ["signed", `${manifest.name} ${manifest.version}`],
            ["sha256", sha256],
            ["key id", signature.keyId],
            ["written", path],
          ]),
        );
      });
    });
}
