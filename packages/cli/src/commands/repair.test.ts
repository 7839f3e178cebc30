import { afterAll, beforeAll, expect, it } from "vitest";
import { MemoryServer } from "../testing/memory-server.ts";
import { runMillrace } from "../testing/run-millrace.ts";

let server: MemoryServer;
beforeAll(async () => {
  server = await MemoryServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

const run = (...args: string[]) => runMillrace(["--server", server.url, "repair", ...args]);

it("shows what is stranded, and changes nothing unless it is told to", async () => {
  const shown = await run();
  expect(shown).toMatchObject({ code: 0 });
  expect(shown.stdout).toMatch(/JOB +LAY IN +WHY\nj1 +JOBS_HIGH 7 +the log does not hold it\n/);
  expect(shown.stdout).toContain("2 unfinished jobs looked at; nothing was changed: --apply publishes them again\n");
  expect(server.operations.repairs).toEqual([true]);
  expect((await run("--apply")).stdout).toContain("2 unfinished jobs looked at; 1 published again\n");
  expect(server.operations.repairs).toEqual([true, false]);
  expect(JSON.parse((await run("--json")).stdout)).toMatchObject({ ok: true, jobs: [{ id: "j1", seq: "7" }] });
});

it("says why nothing was done, and ends with 4", async () => {
  server.operations.repairRefusal = "the rows are not there yet";
  expect(await run("--apply")).toMatchObject({ code: 4 });
  expect((await run()).stdout).toMatch(/^no job is stranded\n.*nothing to do\nnot done: the rows are not there yet\n$/);
});
