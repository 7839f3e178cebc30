import { afterAll, beforeAll, expect, it } from "vitest";
import { MemoryServer } from "../testing/memory-server.ts";
import { runMillrace } from "../testing/run-millrace.ts";

let server: MemoryServer;
beforeAll(async () => {
  server = await MemoryServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

const run = (...args: string[]) => runMillrace(["--server", server.url, ...args]);

it("lists, sets and resets settings, and says when something else comes first", async () => {
  const { stdout } = await run("settings", "list");
  expect(stdout).toMatch(
    /\* +logLevel +info +default +info +MILLRACE_LOG_LEVEL\n +in worker \(2\) +trace +command line *\n +databaseUrl +\(secret\) +environment/,
  );
  const workers = "  in worker (2): trace (command line)\n";
  expect((await run("settings", "set", "logLevel", "debug")).stdout).toBe(`logLevel is debug (database)\n${workers}`);
  server.operations.pinned = "error";
  expect((await run("settings", "set", "logLevel", '"warn"')).stdout).toBe(
    `logLevel is error (environment): it comes before the database; see MILLRACE_LOG_LEVEL\n${workers}`,
  );
  server.operations.pinned = undefined;
  expect((await run("settings", "reset", "logLevel")).stdout).toBe(`logLevel is info (default)\n${workers}`);
  const details = (await run("settings", "get", "logLevel")).stdout.split("\n");
  expect(details.slice(2)).toEqual([
    "The least severe lines that are logged",
    "default: info",
    "may be changed while the system runs, or set by MILLRACE_LOG_LEVEL",
    "",
  ]);
  expect((await run("settings", "get", "other")).code).toBe(3);
  expect((await run("settings", "set", "other", "1")).code).toBe(3);
});

it("sets, lists, checks and deletes flags", async () => {
  expect((await run("flags", "set", "new-page", "on", "--percent", "10%")).stdout).toBe(
    "new-page is on for 10 % of users\n",
  );
  expect((await run("flags", "list")).stdout).toMatch(/new-page +on +10 %/);
  expect((await run("flags", "check", "new-page")).stdout).toBe("new-page is on for you\n");
  expect((await run("flags", "check", "new-page", "--user", "nobody")).stdout).toBe("new-page is off for nobody\n");
  expect((await run("flags", "set", "new-page", "off")).stdout).toBe("new-page is off\n");
  expect((await run("flags", "set", "new-page", "perhaps")).code).toBe(2);
  expect((await run("flags", "delete", "new-page")).stdout).toBe("new-page is gone\n");
  expect((await run("flags", "list")).stdout).toBe("no flags\n");
});
