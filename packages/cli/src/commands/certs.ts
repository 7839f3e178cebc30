import { mkdir } from "node:fs/promises";
import { InvalidArgumentError, type Command } from "commander";
import { brokerUsers } from "@millrace/bus";
import { withOutput, type CliContext } from "../cli-context.ts";
import { wholeNumber } from "../parse-options.ts";

interface CertsOptions {
  readonly host?: readonly string[];
  readonly days: number;
}

/** Services that others connect to; all the others only call. */
const servers = ["nats", "control", "identity"];
const services = [...new Set([...servers, ...brokerUsers])];
const ownHosts = ["localhost", "127.0.0.1", "::1"];

/** `certs`: an authority for development, with a certificate for each service. */
export function certsCommand(program: Command, context: CliContext): void {
  program
    .command("certs")
    .description("make a development authority, with a certificate for each service; needs no server")
    .argument("<folder>", "where authority, certificates and keys are written; an authority there is kept")
    .option("--host <name>", "a name or address under which servers are reached (repeatable)", collectHost)
    .option("--days <n>", "how long the certificates are good for", wholeNumber, 90)
    .addHelpText("after", "\nExample:\n  millrace certs .millrace/certs --host build-7.local")
    .action(async (folder: string, { host = [], days }: CertsOptions, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const { DevelopmentAuthority } = await import("../security/development-authority.ts");
        await mkdir(folder, { recursive: true, mode: 0o700 });
        const authority = await DevelopmentAuthority.open(folder);
        for (const name of services) {
          await authority.issue({ name, days, hosts: servers.includes(name) ? [...ownHosts, ...host] : [] });
        }
        const text = `${folder}: ca.pem, and certificates for ${services.join(", ")}, good for ${days} days`;
        output.document({ folder, services, days }, () => text);
      });
    });
}

function collectHost(host: string, hosts: readonly string[] = []): string[] {
  // By its name a service is known to the others.
  if (services.includes(host)) throw new InvalidArgumentError(`${host} is the name of a service.`);
  return [...hosts, host];
}
