import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import type { Bus, UpgradedLog, UpgradeStep } from "@millrace/bus";
import { MillraceError } from "@millrace/protocol";
import { sayBusy, withOutput, type CliContext } from "../cli-context.ts";
import { table } from "../output.ts";
import { runtimeCacheDir, runtimeDataDir } from "../runtime-file.ts";

interface UpgradeStreamsOptions {
  readonly apply?: boolean;
  readonly nats?: string;
  readonly dataDir: string;
  readonly seed?: string;
  readonly creds?: string;
  readonly certs?: string;
  readonly prefix?: string;
  readonly domain?: string;
}

const connectTimeoutMs = 10_000;

/** `upgrade streams`: what a former version has left on the broker. */
export function upgradeCommand(program: Command, context: CliContext): void {
  const upgrade = program.command("upgrade").description("bring what a former version has left up to date");

  upgrade
    .command("streams")
    .description("show which streams of jobs are a former version's; with --apply, make logs of them")
    .option("--apply", "do it; nothing of the former version may run, and one that was killed is run again")
    .option(
      "--nats <url>",
      "the broker (NATS_URL); without it, the one of the data folder is started",
      context.env["NATS_URL"],
    )
    .option(
      "--data-dir <folder>",
      "of a system that `npm start` ran here (MILLRACE_DATA_DIR)",
      runtimeDataDir(context.env),
    )
    .option("--seed <file>", "the seed of `admin`")
    .option("--creds <file>", "in its place, a .creds file of a user who may do everything with streams")
    .option("--certs <folder>", "a folder as `millrace certs` makes, for tls://")
    .option("--prefix <name>", "refused: no former version had one", context.env["MILLRACE_NATS_PREFIX"])
    .option(
      "--domain <name>",
      "JetStream's domain (MILLRACE_NATS_DOMAIN)",
      context.env["MILLRACE_NATS_DOMAIN"] || undefined,
    )
    .addHelpText(
      "after",
      "\nJobs keep their order, ids and attempts. Publishers hear that no stream takes their jobs until the log is there." +
        "\n\nExample:\n  millrace upgrade streams --nats nats://localhost:4222 --apply",
    )
    .action(async ({ apply = false, ...options }: UpgradeStreamsOptions, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        await using stack = new AsyncDisposableStack();
        const bus = await connect(stack, options, runtimeCacheDir(context.env));
        if (!apply) {
          const steps = await bus.planUpgrade();
          return output.document({ steps: steps.map((step) => ({ ...step })) }, () => plan(steps));
        }
        const onChange = (log: string, what: string): void => sayBusy(context, `${log}: ${what}`);
        const upgraded = await bus.upgradeStreams({ signal: context.signal, onChange });
        output.document({ upgraded: upgraded.map((one) => ({ ...one })) }, () => report(upgraded));
      });
    });
}

async function connect(
  stack: AsyncDisposableStack,
  options: Omit<UpgradeStreamsOptions, "apply">,
  cacheDir: string,
): Promise<Bus> {
  const { brokerOptions, connectBus } = await import("@millrace/bus");
  const { seed, creds, certs, prefix, domain } = options;
  if (prefix) {
    throw new MillraceError(
      "invalid_argument",
      "no former version had a prefix: its streams, and the jobs in them, are those of an installation without one. " +
        "Upgrade without --prefix and MILLRACE_NATS_PREFIX; the installation with the prefix is another, and has nothing to upgrade",
    );
  }
  const natsUrl = options.nats || (await startBroker(stack, options.dataDir, cacheDir));
  const files =
    certs === undefined
      ? {}
      : { tlsCa: `${certs}/ca.pem`, tlsCert: `${certs}/admin.pem`, tlsKey: `${certs}/admin.key` };
  const who = { natsUrl, natsSeedFile: seed, natsCredsFile: creds, natsStreamsGiven: true };
  const broker = brokerOptions("admin", { ...who, natsDomain: domain, ...files });
  return stack.use(await connectBus({ ...broker, connectTimeoutMs }));
}

/** A start of the system refuses as long as there is something to upgrade, and takes its broker with it. */
async function startBroker(stack: AsyncDisposableStack, dataDir: string, cacheDir: string): Promise<string> {
  const folder = join(dataDir, "nats");
  if (!existsSync(join(folder, "jetstream"))) {
    throw new MillraceError("not_found", `no broker has kept streams in ${folder}: name one with --nats or --data-dir`);
  }
  const { provideNatsServer } = await import("@millrace/bus/nats-server");
  return stack.use(await provideNatsServer({ dataDir: folder, cacheDir })).url;
}

const stages: Readonly<Record<UpgradeStep["stage"], string>> = {
  former: "to be upgraded",
  copied: "half upgraded: its jobs wait in a copy",
  moving: "half upgraded: some jobs wait in a copy",
};

function plan(steps: readonly UpgradeStep[]): string {
  const found = table(steps, planColumns, "all streams of jobs are logs: nothing to do");
  if (steps.length === 0) return found;
  const busy = steps.some(({ waitingPulls }) => waitingPulls > 0);
  const stop = busy ? "\nworkers of the former version still run: stop them first" : "";
  return `${found}${stop}\nnothing was changed: --apply makes logs of them`;
}

function report(upgraded: readonly UpgradedLog[]): string {
  return table(upgraded, reportColumns, "all streams of jobs are logs: nothing to do");
}

const planColumns = [
  { head: "stream", cell: ({ log }: UpgradeStep) => log },
  { head: "stage", cell: ({ stage }: UpgradeStep) => stages[stage] },
  { head: "jobs", cell: ({ messages }: UpgradeStep) => messages, align: "right" as const },
  { head: "bytes", cell: ({ bytes }: UpgradeStep) => bytes, align: "right" as const },
  { head: "in hand", cell: ({ inHand }: UpgradeStep) => inHand, align: "right" as const },
];

const reportColumns = [
  { head: "log", cell: ({ log }: UpgradedLog) => log },
  { head: "jobs moved", cell: ({ moved }: UpgradedLog) => moved, align: "right" as const },
];
