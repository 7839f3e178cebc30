import type { Command } from "commander";
import { createClient, toMillraceError, type Client, type Credentials } from "@millrace/client";
import { MillraceError } from "@millrace/protocol";
import { findToken, type FoundToken } from "./credentials/find-token.ts";
import { createOutput, type Output } from "./output.ts";
import { readRuntimeFile } from "./runtime-file.ts";

/** The process's surroundings, as the commands see them. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: NodeJS.ReadableStream & AsyncIterable<Uint8Array> & { readonly isTTY?: boolean };
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

const defaultServer = "http://127.0.0.1:8080";

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

/** Runs a command's body with a client that has found who it is; closed at the end. Every error is one of the contract. */
export async function withSession(
  context: CliContext,
  command: Command,
  body: (session: Session) => Promise<void>,
): Promise<void> {
  const server = await serverOf(context, command);
  const found = await findToken(context.env, server);
  try {
    await withClient(context, command, found, body);
  } catch (error) {
    if (!(error instanceof MillraceError) || error.code !== "unauthenticated") throw error;
    throw new MillraceError("unauthenticated", `${error.message}: ${whoIsMissing(server, found)}`, { cause: error });
  }
}

function whoIsMissing(server: string, found: FoundToken | undefined): string {
  if (found === undefined) return `say who you are to ${server} with \`millrace login\`, or a token in MILLRACE_TOKEN`;
  return `${server} does not take the token of ${found.source}; it has ended, or is another server's`;
}

/** As `withSession`, for commands that say themselves who they are. @param credentials undefined: nobody */
export async function withClient(
  context: CliContext,
  command: Command,
  credentials: Credentials | undefined,
  body: (session: Session) => Promise<void>,
): Promise<void> {
  const { json } = command.optsWithGlobals<{ json?: boolean }>();
  await using client = createClient({
    baseUrl: await serverOf(context, command),
    ...(credentials === undefined ? {} : { credentials }),
  });
  try {
    await body({ client, context, output: createOutput(context.stdout, json === true) });
  } catch (reason) {
    throw toMillraceError(reason, client.baseUrl);
  }
}

/**
 * The server that the command line names, else MILLRACE_URL, else the system that runs on this machine.
 * @throws MillraceError invalid_argument when it is no address of the web
 */
export async function serverOf({ env }: CliContext, command: Command): Promise<string> {
  const { server } = command.optsWithGlobals<{ server?: string }>();
  const named = server ?? env["MILLRACE_URL"];
  if (!named) return (await readRuntimeFile(env))?.httpUrl ?? defaultServer;
  if (URL.canParse(named) && /^https?:$/.test(new URL(named).protocol)) return named;
  const where = server === undefined ? "MILLRACE_URL" : "--server";
  throw new MillraceError("invalid_argument", `${where}: ${named} is not an address such as ${defaultServer}`);
}
