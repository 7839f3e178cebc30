import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { runCli } from "../run-cli.ts";

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a command line to its end, inside this process. */
export async function runMillrace(
  args: readonly string[],
  { input = "", env = {} }: RunOptions = {},
): Promise<Finished> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const said = Promise.all([text(stdout), text(stderr)]);
  let code = 0;
  await runCli(args, {
    env,
    stdin: Readable.from([typeof input === "string" ? Buffer.from(input) : input]),
    stdout,
    stderr,
    signal: new AbortController().signal,
    setExitCode: (value) => {
      code = value;
    },
  });
  stdout.end();
  stderr.end();
  const [out, err] = await said;
  return { code, stdout: out, stderr: err };
}
