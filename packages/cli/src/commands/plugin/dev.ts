import type { Command } from "commander";
import { toMillraceError, type Client } from "@millrace/client";
import type { PluginSignature } from "@millrace/protocol";
import { withSession, type CliContext } from "../../cli-context.ts";
import { formatEvent } from "../../format-job.ts";
import { formatLogLine, formatStanding } from "../../format-plugin.ts";
import type { Output } from "../../output.ts";
import { grantNames } from "../../parse-options.ts";
import { buildProject } from "../../project/build-project.ts";
import { nextDevVersion } from "../../project/dev-version.ts";
import { watchProject } from "../../project/watch-project.ts";
import { readPluginPackage, readProjectManifest } from "../../read-plugin-package.ts";
import { signWithKey } from "../../signing/signing-key.ts";

interface DevOptions {
  readonly grant?: readonly string[];
  readonly key?: string;
}

const debounceMs = 300;
/** A server in development is restarted now and then: half an hour of tries. */
const maxRetries = 400;

export function devCommand(plugin: Command, context: CliContext): void {
  plugin
    .command("dev")
    .description("build and push at every save, and show the log and the failures, until interrupted")
    .argument("[folder]", "with plugin.yaml and the source", ".")
    .option("-g, --grant <capability>", "of what it declares (default: all)", grantNames)
    .option("-k, --key <file>", "sign what is pushed")
    .addHelpText(
      "after",
      `
Each push gets a version of its own, <version>-dev.<n>. A build that fails leaves the version that serves in place.

Example:
  millrace plugin dev my-plugin`,
    )
    .action(async (folder: string, options: DevOptions, command: Command) => {
      const { name } = await readProjectManifest(folder);
      await withSession(context, command, async ({ client, output }) => {
        const ended = new AbortController();
        const signal = AbortSignal.any([context.signal, ended.signal]);
        const pushed = Promise.withResolvers<void>();
        const tasks = [
          rebuild(folder, options, { client, output, context, signal }, pushed.resolve),
          pushed.promise.then(() => showLog(client, output, name, signal)),
          pushed.promise.then(() => showFailures(client, output, name, signal)),
        ];
        // A task that ends takes the others with it.
        const [first] = await Promise.allSettled([
          Promise.race(tasks).finally(() => {
            ended.abort();
            pushed.resolve();
          }),
          ...tasks,
        ]);
        if (first.status === "rejected" && !context.signal.aborted) throw first.reason;
      });
    });
}

interface DevSession {
  readonly client: Client;
  readonly output: Output;
  readonly context: CliContext;
  readonly signal: AbortSignal;
}

async function rebuild(folder: string, options: DevOptions, session: DevSession, onPushed: () => void): Promise<void> {
  const { output, client, signal } = session;
  const run = async () => {
    try {
      await buildAndPush(folder, options, session);
      onPushed();
    } catch (reason) {
      if (signal.aborted) return;
      const { code, message, details } = toMillraceError(reason, client.baseUrl);
      const reasons = details.map((detail) => `\n  ${detail.field}: ${detail.reason}`).join("");
      output.record({ kind: "failed", code, message: message + reasons }, () => `failed: ${message}${reasons}`);
    }
  };
  // Watched from before the first build on: a save during it is seen.
  const changes = watchProject(folder, debounceMs, signal);
  let next = changes.next();
  do {
    await run();
    if ((await next).done === true) return;
    next = changes.next();
  } while (!signal.aborted);
}

async function buildAndPush(folder: string, options: DevOptions, session: DevSession): Promise<void> {
  const { client, output, context, signal } = session;
  const build = await buildProject(folder, { env: context.env, signal });
  const { bytes, elapsedMs } = build;
  output.record({ kind: "built", bytes, elapsedMs }, () => `built ${build.path}: ${bytes} bytes, ${elapsedMs} ms`);
  const { manifest, module, sha256 } = await readPluginPackage(folder);
  manifest.version = nextDevVersion(manifest.version, await pushedVersions(client, manifest.name, signal));
  let signature: PluginSignature | undefined;
  if (options.key !== undefined) signature = await signWithKey({ manifest, sha256 }, options.key);
  const { plugin } = await client.plugins.uploadPlugin(
    { manifest, module, grants: [...(options.grant ?? ["all"])], ...(signature === undefined ? {} : { signature }) },
    { signal },
  );
  output.record({ kind: "pushed", version: manifest.version, sha256 }, () => `pushed: ${formatStanding(plugin)}`);
}

async function pushedVersions(client: Client, name: string, signal: AbortSignal): Promise<string[]> {
  try {
    const { versions } = await client.plugins.listPluginVersions({ name }, { signal });
    return versions.map(({ manifest }) => manifest?.version ?? "");
  } catch (reason) {
    const error = toMillraceError(reason, client.baseUrl);
    if (error.code === "not_found") return [];
    throw error;
  }
}

async function showLog(client: Client, output: Output, name: string, signal: AbortSignal): Promise<void> {
  for await (const line of client.watchPluginLogs(name, { signal, maxRetries })) {
    const { jobId, level, text } = line;
    output.record({ kind: "log", jobId, level, text }, () => formatLogLine(line));
  }
}

async function showFailures(client: Client, output: Output, name: string, signal: AbortSignal): Promise<void> {
  for await (const { event } of client.watchAll({ kinds: ["retried", "dead"] }, { signal, maxRetries })) {
    if (event?.plugin.startsWith(`${name}@`) !== true) continue;
    const { jobId, kind, error } = event;
    const words = { code: error?.code ?? "", message: error?.message ?? "" };
    output.record({ kind: "job", jobId, event: kind, ...words }, () => formatEvent(event));
  }
}
