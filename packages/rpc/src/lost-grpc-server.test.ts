/** What callers by gRPC hear of a server that is killed or hangs. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { JobService } from "@millrace/protocol";
import { expect, test } from "vitest";
import { createGrpcTransport } from "./grpc-transport.ts";

interface ServingProcess extends AsyncDisposable {
  readonly url: string;
  send(signal: NodeJS.Signals): void;
  said(line: string): Promise<void>;
}

async function startProcess(): Promise<ServingProcess> {
  const script = fileURLToPath(new URL("fixture-process.ts", import.meta.url));
  const child = spawn(process.execPath, [script, "grpc"], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const lines: string[] = [];
  const state = { over: false };
  let wake = Promise.withResolvers<void>();
  const onNews = (): void => {
    wake.resolve();
    wake = Promise.withResolvers();
  };
  createInterface(child.stdout).on("line", (line) => {
    lines.push(line);
    onNews();
  });
  void exited.then(() => {
    state.over = true;
    onNews();
  });
  const heard = async (wanted: (line: string) => boolean): Promise<string> => {
    for (;;) {
      const line = lines.find(wanted);
      if (line !== undefined) return line;
      if (state.over) throw new Error("the process ended without saying it");
      await wake.promise;
    }
  };
  const url = await heard((line) => line.startsWith("http://"));
  return {
    url,
    send: (signal) => void child.kill(signal),
    said: async (line) => void (await heard((one) => one === line)),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

const outcome = (call: Promise<unknown>): Promise<ConnectError | undefined> =>
  call.then(
    () => undefined,
    (reason: unknown) => ConnectError.from(reason),
  );

test.each([
  ["is killed", "SIGKILL", 1_000],
  ["hangs", "SIGSTOP", 15_000],
] as const)(
  "calls and watches at a server that %s are unavailable",
  { timeout: 40_000 },
  async (_, signal, withinMs) => {
    await using server = await startProcess();
    await using transport = createGrpcTransport({ baseUrl: server.url });
    const jobs = createClient(JobService, transport);
    const submitted = outcome(jobs.submitJob({ type: "t", id: "w" }));
    const read = outcome(jobs.getJob({ id: "r" }));
    const watched = outcome(
      (async () => {
        for await (const _update of jobs.watchJobs({ resumeAfter: "7" }));
      })(),
    );
    await Promise.all(["submit w", "get r", "watch 7"].map((line) => server.said(line)));
    const startedAt = performance.now();
    server.send(signal);
    for (const call of [submitted, read, watched]) expect(await call).toMatchObject({ code: Code.Unavailable });
    expect(performance.now() - startedAt).toBeLessThan(withinMs);
    expect((await submitted)?.rawMessage).toMatch(/: it may have been done$/);
    expect((await read)?.rawMessage).not.toMatch(/may have been done/);
    // The next one asks anew, and nothing that the lost connection still tells ends the process.
    expect(await outcome(jobs.getJob({ id: "r" }, { timeoutMs: 500 }))).toBeInstanceOf(ConnectError);
  },
);
