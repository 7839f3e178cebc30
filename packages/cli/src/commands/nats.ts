import { Option, type Command } from "commander";
import { withOutput, type CliContext } from "../cli-context.ts";
import { byteSize, wholeNumber } from "../parse-options.ts";

interface NamespaceOptions {
  readonly prefix?: string;
  readonly domain?: string;
}

interface ConfigOptions extends NamespaceOptions {
  readonly certs?: string;
  readonly listen: string;
}

interface StreamOptions extends NamespaceOptions {
  readonly nats: string;
  readonly seed?: string;
  readonly creds?: string;
  readonly certs?: string;
  readonly replicas?: number;
  readonly jobStreamBytes?: number;
  readonly scheduleStreamBytes?: number;
  readonly eventsBytes?: number;
}

const connectTimeoutMs = 10_000;

/** `nats config|streams`: a broker whose users may do what they must. */
export function natsCommands(program: Command, context: CliContext): void {
  const nats = program.command("nats").description("set up a NATS server with a user for each service");

  nats
    .command("config")
    .description("write the configuration of a nats-server, and a key for each of its users; needs no server")
    .argument("<folder>", "where it is written; keys that are there are replaced")
    .option("--certs <folder>", "a folder as `millrace certs` makes: connections by TLS only, with client certificates")
    .option("--listen <address>", "host:port", "127.0.0.1:4222")
    .addOption(ofSetting("--prefix <name>", "in front of every subject, stream and bucket", "MILLRACE_NATS_PREFIX"))
    .addOption(ofSetting("--domain <name>", "JetStream's domain", "MILLRACE_NATS_DOMAIN"))
    .addHelpText(
      "after",
      "\nExample:\n  millrace nats config .millrace/nats --certs .millrace/certs\n  nats-server -c .millrace/nats/nats-server.conf",
    )
    .action(async (folder: string, { certs, listen, prefix, domain }: ConfigOptions, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const { writeBrokerConfig } = await import("../security/write-broker-config.ts");
        const certificates = certs === undefined ? {} : { certificates: certs };
        await writeBrokerConfig(folder, { listen, prefix, domain, ...certificates });
        output.document({ folder }, () => `${folder}/nats-server.conf, and the seed of each user in <user>.seed`);
      });
    });

  nats
    .command("streams")
    .description("make the streams and buckets, or bring them in line, as the user `admin`")
    .option("--nats <url>", "the broker (NATS_URL)", context.env["NATS_URL"] || "nats://127.0.0.1:4222")
    .option("--seed <file>", "the seed of `admin`")
    .option("--creds <file>", "in its place, a .creds file of a user who may make streams")
    .option("--certs <folder>", "a folder as `millrace certs` makes, for tls://")
    .addOption(ofSetting("--prefix <name>", "in front of every subject, stream and bucket", "MILLRACE_NATS_PREFIX"))
    .addOption(ofSetting("--domain <name>", "JetStream's domain", "MILLRACE_NATS_DOMAIN"))
    .addOption(
      ofSetting("--replicas <n>", "copies of each: 1, 3 or 5", "MILLRACE_NATS_REPLICAS").argParser(wholeNumber),
    )
    .addOption(
      ofSetting("--job-stream-bytes <size>", "of each log of jobs", "MILLRACE_JOB_STREAM_BYTES").argParser(byteSize),
    )
    .addOption(
      ofSetting(
        "--schedule-stream-bytes <size>",
        "of the log of delayed jobs",
        "MILLRACE_SCHEDULE_STREAM_BYTES",
      ).argParser(byteSize),
    )
    .addOption(ofSetting("--events-bytes <size>", "of the log of events", "MILLRACE_EVENTS_BYTES").argParser(byteSize))
    .addHelpText(
      "after",
      "\nExample:\n  millrace nats streams --nats tls://localhost:4222 --seed .millrace/nats/admin.seed --certs .millrace/certs",
    )
    .action(async (options: StreamOptions, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const { brokerOptions, connectBus } = await import("@millrace/bus");
        const { nats: natsUrl, seed, creds, certs, prefix, domain, replicas, ...bytes } = options;
        const files =
          certs === undefined
            ? {}
            : { tlsCa: `${certs}/ca.pem`, tlsCert: `${certs}/admin.pem`, tlsKey: `${certs}/admin.key` };
        const who = { natsUrl, natsSeedFile: seed, natsCredsFile: creds, natsStreamsGiven: false };
        const where = { natsPrefix: prefix, natsDomain: domain, natsReplicas: replicas };
        const broker = brokerOptions("admin", { ...who, ...where, ...bytes, ...files });
        await using bus = await connectBus({ ...broker, connectTimeoutMs });
        await bus.ensureTopology();
        output.document({ server: bus.info.version }, () => "streams and buckets are as they should be");
      });
    });
}

/** What services are told by the same variable. */
function ofSetting(flags: string, description: string, variable: string): Option {
  return new Option(flags, description).env(variable);
}
