import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Command } from "commander";
import { MillraceError, UploadPluginResponseSchema, type CanaryBoundsSchema } from "@millrace/protocol";
import { sayBusy, withSession, type CliContext } from "../../cli-context.ts";
import { formatPlugin } from "../../format-plugin.ts";
import { grantNames, percent, positive, wholeNumber } from "../../parse-options.ts";
import { readPluginPackage } from "../../read-plugin-package.ts";
import { readSignature } from "../../signing/signature-file.ts";

interface PushOptions {
  readonly disabled?: true;
  readonly grant?: readonly string[];
  readonly canary?: number;
  readonly canaryMinCalls?: number;
  readonly canaryFailureIncrease?: number;
  readonly canaryFuelRatio?: number;
}

/** A module of 16 MiB over a slow line. */
const uploadWithinMs = 300_000;

export function pushCommand(plugin: Command, context: CliContext): void {
  plugin
    .command("push")
    .description("install or replace a plugin; it serves at once")
    .argument("<path>", "a folder with plugin.yaml and its module, or the .wasm file")
    .argument("[manifest]", "the manifest, when it is not plugin.yaml beside the module")
    .option("--disabled", "do not serve yet")
    .option(
      "-g, --grant <capability>",
      "let it do what it declares: http, kv, secrets, events, jobs, or all",
      grantNames,
    )
    .option("--canary <percent>", "beside the version that serves, with so many percent of the jobs", percent)
    .option("--canary-min-calls <n>", "calls before the canary is judged (default: 50)", wholeNumber)
    .option("--canary-failure-increase <share>", "more failed calls than this take it back (default: 0.05)", positive)
    .option("--canary-fuel-ratio <ratio>", "more fuel a call than this takes it back (default: 2)", positive)
    .addHelpText(
      "after",
      `
A signature (plugin.sig, made by \`plugin sign\`) beside the manifest goes along.

Example:
  millrace plugin push plugins/audit
  millrace plugin push my-plugin --grant http,kv
  millrace plugin push my-plugin --canary 10`,
    )
    .action(async (path: string, manifestPath: string | undefined, options: PushOptions, command: Command) => {
      const canaryBounds = boundsOf(options);
      const { manifest, module, folder } = await readPluginPackage(path, manifestPath);
      const signature = await readSignature(folder);
      await withSession(context, command, async ({ client, output }) => {
        sayBusy(context, `uploading ${manifest.name} ${manifest.version}, ${module.length} bytes`);
        const response = await client.plugins.uploadPlugin(
          {
            manifest,
            module,
            disabled: options.disabled === true,
            grants: [...(options.grant ?? [])],
            canaryPercent: options.canary ?? 0,
            ...(canaryBounds === undefined ? {} : { canaryBounds }),
            ...(signature === undefined ? {} : { signature }),
          },
          { signal: context.signal, timeoutMs: uploadWithinMs },
        );
        output.message(UploadPluginResponseSchema, response, () => formatPlugin(response.plugin));
      });
    });
}

function boundsOf(options: PushOptions): MessageInitShape<typeof CanaryBoundsSchema> | undefined {
  const { canaryMinCalls = 0, canaryFailureIncrease = 0, canaryFuelRatio = 0 } = options;
  if (canaryMinCalls + canaryFailureIncrease + canaryFuelRatio === 0) return undefined;
  if (options.canary === undefined) throw new MillraceError("invalid_argument", "a canary's bounds go with --canary");
  return { minCalls: canaryMinCalls, failureIncrease: canaryFailureIncrease, fuelRatio: canaryFuelRatio };
}
