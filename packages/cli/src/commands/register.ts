import type { Command } from "commander";
import { RegisterResponseSchema } from "@millrace/protocol";
import { withClient, type CliContext } from "../cli-context.ts";
import { Questions } from "../credentials/questions.ts";

const registerHelp = `
Without a terminal the answers are read from standard input, one a line: code (an empty line where none is needed), password.`;

/** `register`: what an invitation is for. */
export function registerCommand(program: Command, context: CliContext): void {
  program
    .command("register")
    .description("become a user, with the code of an invitation where one is needed")
    .argument("<email>", "yours")
    .option("--name <name>", "to be shown")
    .addHelpText("after", registerHelp)
    .action(async (email: string, { name = "" }: { name?: string }, command: Command) => {
      await withClient(context, command, undefined, async ({ client, output }) => {
        using questions = new Questions(context);
        const invitation = await questions.askSecretly("Code of the invitation");
        const call = { signal: context.signal };
        const response = await questions.setNewPassword("Password", (password) =>
          client.auth.register({ email, displayName: name, password, invitation }, call),
        );
        output.message(RegisterResponseSchema, response, () => `${email} is registered: log in with it`);
      });
    });
}
