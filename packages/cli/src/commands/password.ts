import type { Command } from "commander";
import { withClient, type CliContext } from "../cli-context.ts";
import { Questions } from "../credentials/questions.ts";

const resetHelp = `
Without a terminal the answers are read from standard input, one a line: code and new password.`;

/** `password forgot|reset`. */
export function passwordCommands(program: Command, context: CliContext): void {
  const password = program.command("password").description("when you have forgotten yours");
  const call = { signal: context.signal };

  password
    .command("forgot")
    .description("tell the administrators that you need a new one; one of them hands you a code")
    .argument("<email>", "yours")
    .action(async (email: string, _: object, command: Command) => {
      await withClient(context, command, undefined, async ({ client, output }) => {
        await client.auth.requestPasswordReset({ email }, call);
        // The same whether there is such a user or not.
        output.document({ email }, () => `if ${email} is a user here, the administrators see that you have asked`);
      });
    });

  password
    .command("reset")
    .description("set a new one with the code of an administrator; all sessions end")
    .addHelpText("after", resetHelp)
    .action(async (_: object, command: Command) => {
      await withClient(context, command, undefined, async ({ client, output }) => {
        using questions = new Questions(context);
        const code = await questions.askSecretly("Code");
        await questions.setNewPassword("New password", (newPassword) =>
          client.auth.resetPassword({ code, newPassword }, call),
        );
        output.document({}, () => "the password is set: log in with it");
      });
    });
}
