import type { Command } from "commander";
import { withOutput, type CliContext } from "../cli-context.ts";

interface ConfigOptions {
  readonly certs?: string;
  readonly listen: string;
}

interface StreamOptions {
  readonly nats: string;
  readonly seed?: string;
  readonly certs?: string;
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
    .addHelpText(
      "after",
      "\nExample:\n  millrace nats config .millrace/nats --certs .millrace/certs\n  nats-server -c .millrace/nats/nats-server.conf",
    )
    .action(async (folder: string, { certs, listen }: ConfigOptions, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const { writeBrokerConfig } = await import("../security/write-broker-config.ts");
        await writeBrokerConfig(folder, { listen, ...(certs === undefined ? {} : { certificates: certs }) });
        output.document({ folder }, () => `${folder}/nats-server.conf, and the seed of each user in <user>.seed`);
      });
    });

  nats
    .command("streams")
    .description("make the streams and buckets, or bring them in line, as the user `admin`")
    .option("--nats <url>", "the broker (NATS_URL)", context.env["NATS_URL"] || "nats://127.0.0.1:4222")
    .option("--seed <file>", "the seed of `admin`")
    .option("--certs <folder>", "a folder as `millrace certs` makes, for tls://")
    .addHelpText(
      "after",
      "\nExample:\n  millrace nats streams --nats tls://localhost:4222 --seed .millrace/nats/admin.seed --certs .millrace/certs",
    )
    .action(async ({ nats: natsUrl, seed, certs }: StreamOptions, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const { brokerOptions, connectBus } = await import("@millrace/bus");
        const files =
          certs === undefined
            ? {}
            : { tlsCa: `${certs}/ca.pem`, tlsCert: `${certs}/admin.pem`, tlsKey: `${certs}/admin.key` };
        const options = brokerOptions("admin", { natsUrl, natsSeedFile: seed, ...files });
        await using bus = await connectBus({ ...options, topologyGiven: false, connectTimeoutMs });
        await bus.ensureTopology();
        output.document({ server: bus.info.version }, () => "streams and buckets are as they should be");
      });
    });
}
