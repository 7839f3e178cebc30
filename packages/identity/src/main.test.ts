import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { createClient } from "@connectrpc/connect";
import { connectBus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { AuthService } from "@millrace/protocol";
import { createNatsTransport } from "@millrace/rpc";
import { findPostgresBinaries, startTestPostgres } from "@millrace/store/testing";
import { expect, test } from "vitest";
import { callAs } from "./identity-fixture.ts";

const binaries = findPostgresBinaries();
const main = fileURLToPath(new URL("main.ts", import.meta.url));

test.skipIf(binaries === undefined)(
  "a process of its own prints the first password once, signs in over NATS, and stops on a signal",
  async () => {
    await using stack = new AsyncDisposableStack();
    const postgres = stack.use(await startTestPostgres(binaries ?? ""));
    const nats = stack.use(await startTestNats());
    const child = spawn(process.execPath, [main], {
      env: { ...process.env, NATS_URL: nats.url, DATABASE_URL: postgres.url, MILLRACE_LOG_LEVEL: "info" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = once(child, "exit");
    stack.defer(() => void child.kill("SIGKILL"));
    let output = "";
    const serves = new Promise<void>((resolve, reject) => {
      const onData = (chunk: Buffer): void => {
        output += chunk.toString();
        if (output.includes("identity serves")) resolve();
      };
      child.stdout.on("data", onData);
      child.stderr.on("data", onData);
      child.once("exit", () => reject(new Error(`identity ended: ${output}`)));
    });
    await serves;
    const password = /one-time password (\S+)/.exec(output)?.[1] ?? "";
    const bus = stack.use(await connectBus({ servers: nats.url, name: "identity-test" }));
    const auth = createClient(AuthService, stack.use(createNatsTransport(bus)));
    let cookies: string[] = [];
    const onHeader = (headers: Headers): void => void (cookies = headers.getSetCookie());
    const { user, csrfToken } = await auth.login(
      { email: "admin@localhost", password, cookie: true },
      { ...callAs({}), onHeader },
    );
    expect(user?.passwordExpired).toBe(true);
    expect(csrfToken).not.toBe("");
    expect(cookies.map((line) => line.split("=")[0])).toEqual(["mr_session", "mr_refresh"]);
    child.kill("SIGTERM");
    expect((await ended)[0]).toBe(0);
  },
  60_000,
);

test.skipIf(binaries === undefined)(
  "a process that starts while the database is away waits for it, and may be stopped meanwhile",
  async () => {
    await using stack = new AsyncDisposableStack();
    const postgres = stack.use(await startTestPostgres(binaries ?? ""));
    const nats = stack.use(await startTestNats());
    await postgres.stop();
    const start = () => {
      const env = { ...process.env, NATS_URL: nats.url, DATABASE_URL: postgres.url, MILLRACE_LOG_LEVEL: "info" };
      const child = spawn(process.execPath, [main], { env, stdio: ["ignore", "pipe", "pipe"] });
      stack.defer(() => void child.kill("SIGKILL"));
      let output = "";
      const says = async (words: string): Promise<void> => {
        while (!output.includes(words)) {
          if (child.exitCode !== null) throw new Error(`identity ended: ${output}`);
          await Promise.race([once(child.stdout, "data"), once(child.stderr, "data"), ended]);
        }
      };
      const ended = once(child, "exit");
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (chunk: Buffer) => void (output += chunk.toString()));
      return { child, ended, says };
    };
    const [waits, stops] = [start(), start()];
    await Promise.all([waits.says("waiting for the database"), stops.says("waiting for the database")]);
    stops.child.kill("SIGTERM");
    expect((await stops.ended)[0]).toBe(0);
    await postgres.start();
    await waits.says("identity serves");
    waits.child.kill("SIGTERM");
    expect((await waits.ended)[0]).toBe(0);
  },
  60_000,
);
