import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { runCli } from "../run-cli.ts";
import type { Finished, RunOptions } from "./run-millrace.ts";

/** Runs the command in this process, to its end: many times faster than `runMillrace`. */
export async function runHere(args: readonly string[], { input = "", env = {} }: RunOptions = {}): Promise<Finished> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const written = Promise.all([text(stdout), text(stderr)]);
  let code = 0;
  await runCli(args, {
    env,
    stdin: Readable.from([Buffer.from(input)]),
    stdout,
    stderr,
    signal: new AbortController().signal,
    setExitCode: (exit) => {
      code = exit;
    },
  });
  stdout.end();
  stderr.end();
  const [out, err] = await written;
  return { code, stdout: out, stderr: err };
}
