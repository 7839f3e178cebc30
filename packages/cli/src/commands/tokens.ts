import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { CreateTokenResponseSchema, ListTokensResponseSchema, MillraceError, type ApiToken } from "@millrace/protocol";
import { serverOf, withOutput, withSession, type CliContext } from "../cli-context.ts";
import { findToken } from "../credentials/find-token.ts";
import { formatTime } from "../format-job.ts";
import { table } from "../output.ts";
import { collect, instant } from "../parse-options.ts";

interface CreateOptions {
  readonly scope: readonly string[];
  readonly queue?: readonly string[];
  readonly type?: readonly string[];
  readonly expires?: Date;
}

/** `tokens list|create|revoke|show`. */
export function tokenCommands(program: Command, context: CliContext): void {
  const tokens = program.command("tokens").description("your tokens for programs");

  tokens
    .command("list")
    .description("list them; their secrets are known to nobody")
    .action(async (_: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.tokens.listTokens({}, { signal: context.signal });
        output.message(ListTokensResponseSchema, response, () => table(response.tokens, tokenColumns, "no tokens"));
      });
    });

  tokens
    .command("create")
    .description("make one, and print its secret, this once")
    .argument("<name>", "what it is for")
    .requiredOption("--scope <scope>", "read, write, admin, or a permission such as jobs:submit; several", collect)
    .option("--queue <name>", "only jobs of this queue; several", collect)
    .option("--type <type>", "only jobs of this type; several", collect)
    .option("--expires <time>", "RFC 3339, or +30d (default: +90d)", instant)
    .addHelpText("after", "\nExample:\n  millrace tokens create ci --scope jobs:submit --queue builds --expires +30d")
    .action(async (name: string, { scope, queue, type, expires }: CreateOptions, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const response = await client.tokens.createToken(
          {
            name,
            scopes: [...scope],
            queues: [...(queue ?? [])],
            types: [...(type ?? [])],
            ...(expires === undefined ? {} : { expiresAt: timestampFromDate(expires) }),
          },
          { signal: context.signal },
        );
        // Alone on its line: for `TOKEN=$(millrace tokens create …)`.
        output.message(CreateTokenResponseSchema, response, () => response.secret);
      });
    });

  tokens
    .command("revoke")
    .description("end one, everywhere, within a second")
    .argument("<id>")
    .action(async (id: string, _: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        await client.tokens.revokeToken({ id }, { signal: context.signal });
        output.document({ id }, () => `${id} is revoked`);
      });
    });

  tokens
    .command("show")
    .description("print the token that this command comes in with, for other programs on this machine")
    .addHelpText("after", '\nExample:\n  curl -H "authorization: Bearer $(millrace tokens show)" …')
    .action(async (_: object, command: Command) => {
      await withOutput(context, command, async ({ output }) => {
        const server = await serverOf(context, command);
        const found = await findToken(context.env, server);
        if (found === undefined) throw new MillraceError("unauthenticated", `no token for ${server}`);
        output.document({ ...found }, () => found.token);
      });
    });
}

const tokenColumns = [
  { head: "id", cell: (token: ApiToken) => token.id },
  { head: "name", cell: (token: ApiToken) => token.name },
  { head: "begins", cell: (token: ApiToken) => token.hint },
  { head: "scopes", cell: (token: ApiToken) => token.scopes.join(",") },
  { head: "queues", cell: (token: ApiToken) => token.queues.join(",") },
  { head: "types", cell: (token: ApiToken) => token.types.join(",") },
  { head: "expires", cell: (token: ApiToken) => formatTime(token.expiresAt) },
  { head: "last used", cell: (token: ApiToken) => formatTime(token.lastUsedAt) },
];
