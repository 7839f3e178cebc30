import type { Command } from "commander";
import { createClient, toMillraceError, type Client } from "@millrace/client";
import { createOutput, type Output } from "./output.ts";

/** The process's surroundings, as the commands see them. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  setExitCode(code: number): void;
}

/** What one run of a command works with. */
export interface Session {
  readonly client: Client;
  readonly output: Output;
  readonly context: CliContext;
}

/** Says what takes a while, to people only. */
export function sayBusy({ stderr }: CliContext, what: string): void {
  if (stderr.isTTY === true) stderr.write(`${what} …\n`);
}

export const defaultServer = "http://127.0.0.1:8080";

/** What one run of a command without a server works with. */
export type LocalSession = Omit<Session, "client">;

/** Runs the body of a command that needs no server. */
export async function withOutput(
  context: CliContext,
  command: Command,
  body: (session: LocalSession) => Promise<void>,
): Promise<void> {
  const { json } = command.optsWithGlobals<{ json?: boolean }>();
  await body({ context, output: createOutput(context.stdout, json === true) });
}

/** Runs a command's body with a client, which is closed at the end; every error is one of the contract. */
export async function withSession(
  context: CliContext,
  command: Command,
  body: (session: Session) => Promise<void>,
): Promise<void> {
  const options = command.optsWithGlobals<{ server: string; json?: boolean }>();
  await using client = createClient({ baseUrl: options.server });
  try {
    await body({ client, context, output: createOutput(context.stdout, options.json === true) });
  } catch (reason) {
    throw toMillraceError(reason, client.baseUrl);
  }
}
