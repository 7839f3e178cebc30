import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { GetInfoResponseSchema } from "@millrace/protocol";
import { withSession, type CliContext } from "../cli-context.ts";
import { formatFields } from "../format-table.ts";

export function infoCommand(program: Command, context: CliContext): void {
  program
    .command("info")
    .description("show which server answers")
    .action(async (_: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const info = await client.system.getInfo({}, { signal: context.signal });
        output.message(GetInfoResponseSchema, info, () =>
          formatFields([
            ["name", info.name],
            ["version", info.version],
            ["node", info.node],
            ["started", info.startedAt === undefined ? "" : timestampDate(info.startedAt).toISOString()],
            ["server", client.baseUrl],
          ]),
        );
      });
    });
}
