import { afterAll, beforeAll, expect, it } from "vitest";
import { MemoryServer } from "../testing/memory-server.ts";
import { runMillrace } from "../testing/run-millrace.ts";

let server: MemoryServer;
beforeAll(async () => {
  server = await MemoryServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

const run = (...args: string[]) => runMillrace(["--server", server.url, ...args]);

it("lists the audit trail by what was asked for", async () => {
  const { stdout } = await run("audit", "list", "--email", "ada@example.com", "--result", "refused", "--since", "2h");
  expect(stdout.split("\n")[0]).toMatch(/^SEQ +AT +WHO +FROM +ACTION +OBJECT +RESULT$/);
  expect(stdout).toMatch(/1 .*ada@example\.com +::1 +JobService\/CancelJob +j1 +ok\n\nmore: --page-token 7\n$/);
  expect(server.operations.asked.at(-1)).toMatchObject({ email: "ada@example.com", result: "refused", pageSize: 50 });
  const json = await run("audit", "list", "--page-token", "7", "--until", "2030-01-01T00:00:00Z", "--json");
  expect(JSON.parse(json.stdout)).toMatchObject({ entries: [{ seq: "1", object: "j1" }] });
});

it("ends with 1 when the trail is broken", async () => {
  const hash = "a".repeat(64);
  expect(await run("audit", "verify", "--known", `1:${hash}`)).toMatchObject({
    code: 0,
    stdout: `intact: 1 entries\nNote for the next time: --known 1:${hash}\n`,
  });
  expect(server.operations.asked.at(-1)).toMatchObject({ knownSeq: 1n, knownHash: hash });
  const pruned = { prunedSeq: 7n, prunedHash: hash };
  server.operations.verdict = { intact: true, brokenSeq: 0n, reason: "", lastSeq: 9n, lastHash: hash, ...pruned };
  expect((await run("audit", "verify")).stdout).toContain(
    "intact: 2 entries, after 7 that were pruned for their age\n",
  );
  server.operations.verdict = {
    intact: false,
    brokenSeq: 2n,
    reason: "entry 2 is missing",
    lastSeq: 1n,
    lastHash: hash,
    prunedSeq: 0n,
    prunedHash: "",
  };
  const broken = await run("audit", "verify", "--json");
  expect([broken.code, JSON.parse(broken.stdout)]).toMatchObject([1, { brokenSeq: "2", reason: "entry 2 is missing" }]);
  expect((await run("audit", "verify")).stdout).toContain("broken at entry 2: entry 2 is missing");
  server.operations.verdict.brokenSeq = 1n;
  expect((await run("audit", "verify")).stdout).not.toContain("before it hold");
  expect((await run("audit", "verify", "--known", "1:x")).code).toBe(2);
});
