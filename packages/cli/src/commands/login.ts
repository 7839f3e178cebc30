import type { Command } from "commander";
import { toMillraceError } from "@millrace/client";
import { GetMeResponseSchema, MillraceError } from "@millrace/protocol";
import { serverOf, withClient, withOutput, withSession, type CliContext } from "../cli-context.ts";
import { readLogin, writeLogin } from "../credentials/credentials-file.ts";
import { findToken } from "../credentials/find-token.ts";
import { checkToken, logIn } from "../credentials/log-in.ts";
import { Questions } from "../credentials/questions.ts";
import { formatFields } from "../format-table.ts";
import { roleName } from "../role-name.ts";

interface LoginOptions {
  readonly email?: string;
  readonly withToken?: boolean;
}

const loginHelp = `
Without a terminal the answers are read from standard input, one a line: email (unless given), password, and a new
password when the old one has to be changed.`;

/** `login`, `logout`, `whoami`. */
export function loginCommands(program: Command, context: CliContext): void {
  program
    .command("login")
    .description("say who you are, once; this machine gets a token, kept for you only")
    .option("--email <address>", "of the user")
    .option("--with-token", "keep a token that you have, read from standard input")
    .addHelpText("after", loginHelp)
    .action(async ({ email, withToken }: LoginOptions, command: Command) => {
      const server = await serverOf(context, command);
      await withOutput(context, command, async ({ output }) => {
        using questions = new Questions(context);
        const asked =
          withToken === true
            ? checkToken(server, await questions.askSecretly("Token"), context.signal)
            : logIn(server, email ?? (await questions.ask("Email")), questions, context.signal);
        const login = await asked.catch((reason: unknown) => {
          throw toMillraceError(reason, server);
        });
        await writeLogin(context.env, server, login);
        output.document({ server, email: login.email }, () => `${login.email} is logged in at ${server}`);
      });
    });

  program
    .command("logout")
    .description("forget what login kept; the token that it took is revoked")
    .action(async (_: object, command: Command) => {
      const server = await serverOf(context, command);
      const login = await readLogin(context.env, server);
      if (login === undefined) throw new MillraceError("failed_precondition", `nobody is logged in at ${server}`);
      const { email, token, tokenId } = login;
      await withClient(context, command, { token }, async ({ client, output }) => {
        // One that was brought along may be in use elsewhere.
        if (tokenId !== "")
          await endToken(client.tokens.revokeToken({ id: tokenId }, { signal: context.signal }), server);
        await writeLogin(context.env, server, undefined);
        output.document({ server, email }, () => `${email} is logged out of ${server}`);
      });
    });

  program
    .command("whoami")
    .description("show who this command is for the server, and what it may do")
    .action(async (_: object, command: Command) => {
      await withSession(context, command, async ({ client, output }) => {
        const me = await client.auth.getMe({}, { signal: context.signal });
        const found = await findToken(context.env, client.baseUrl);
        output.message(GetMeResponseSchema, me, () =>
          formatFields([
            ["email", me.user?.email ?? ""],
            ["name", me.user?.displayName ?? ""],
            ["roles", (me.user?.roles ?? []).map(roleName).join(", ")],
            ["may", me.permissions.join(", ")],
            ["token of", found?.source ?? ""],
            ["server", client.baseUrl],
          ]),
        );
      });
    });
}

/** A token that has ended already is no failure. */
async function endToken(revoking: Promise<unknown>, server: string): Promise<void> {
  try {
    await revoking;
  } catch (reason) {
    const error = toMillraceError(reason, server);
    if (error.code !== "unauthenticated" && error.code !== "not_found") throw error;
  }
}
