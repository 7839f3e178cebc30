import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats, TestNats } from "@millrace/bus/testing";
import { expect, it } from "vitest";
import { runMillrace } from "../testing/run-millrace.ts";

const encoder = new TextEncoder();

async function makeFormerStream(bus: Bus): Promise<void> {
  const config = { name: "JOBS_HIGH", subjects: ["jobs.high.>"], retention: "workqueue", storage: "file" };
  const body = encoder.encode(JSON.stringify(config));
  await bus.request("$JS.API.STREAM.CREATE.JOBS_HIGH", body, { timeoutMs: 5000 });
  for (let n = 0; n < 3; n++) await bus.publishDurable("jobs.high.mail.send", encoder.encode("{}"));
}

it("shows what a former version has left, and makes logs of it when it is told to", { timeout: 60_000 }, async () => {
  await using nats = await startTestNats();
  await using bus = await connectBus({ servers: nats.url, name: "test" });
  const upgrade = (...args: string[]) => runMillrace(["upgrade", "streams", "--nats", nats.url, ...args]);
  await makeFormerStream(bus);

  const dry = await upgrade();
  expect([dry.code, dry.stderr]).toEqual([0, ""]);
  expect(dry.stdout).toMatch(/JOBS_HIGH +to be upgraded +3 +\d+ +0\n.*nothing was changed: --apply makes logs of them/);
  const plan = JSON.parse((await upgrade("--json")).stdout) as { steps: object[] };
  expect(plan.steps).toMatchObject([{ log: "JOBS_HIGH", stage: "former", messages: 3 }]);

  const applied = await upgrade("--apply", "--json");
  expect(JSON.parse(applied.stdout)).toEqual({ upgraded: [{ log: "JOBS_HIGH", moved: 3 }] });
  expect((await upgrade()).stdout).toBe("all streams of jobs are logs: nothing to do\n");
  await bus.ensureTopology();
  expect((await bus.streamState("JOBS_HIGH")).messages).toBe(3);
});

it(
  "refuses a prefix, which no former version had, and leaves its streams as they are",
  { timeout: 60_000 },
  async () => {
    await using nats = await startTestNats();
    await using bus = await connectBus({ servers: nats.url, name: "test" });
    await makeFormerStream(bus);
    const command = ["upgrade", "streams", "--nats", nats.url];
    const byOption = await runMillrace([...command, "--apply", "--prefix", "acme"]);
    const byVariable = await runMillrace(command, { env: { MILLRACE_NATS_PREFIX: "acme" } });
    for (const { code, stdout, stderr } of [byOption, byVariable]) {
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toContain("no former version had a prefix");
    }
    // An installation with a prefix is another one beside it.
    await using acme = await connectBus({ servers: nats.url, name: "acme", prefix: "acme" });
    await acme.ensureTopology();
    expect(await acme.planUpgrade()).toEqual([]);
    expect(await bus.planUpgrade()).toMatchObject([{ log: "JOBS_HIGH", stage: "former", messages: 3 }]);
    const applied = await runMillrace([...command, "--apply"], { env: { MILLRACE_NATS_PREFIX: "" } });
    expect(applied.code).toBe(0);
    expect((await bus.streamState("JOBS_HIGH")).messages).toBe(3);
    expect((await acme.streamState("JOBS_HIGH")).messages).toBe(0);
  },
);

it("says where it looked for the streams of this machine", async () => {
  const { code, stderr } = await runMillrace(["upgrade", "streams", "--data-dir", "/nowhere"]);
  expect(code).toBe(3);
  expect(stderr).toContain("no broker has kept streams in /nowhere/nats: name one with --nats or --data-dir");
});

it("starts the broker of a data folder that nothing runs on", { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-upgrade-"));
  try {
    await using nats = await TestNats.start({ dataDir: join(folder, "nats") });
    {
      await using bus = await connectBus({ servers: nats.url, name: "test" });
      await makeFormerStream(bus);
    }
    await nats.stop();
    const applied = await runMillrace(["upgrade", "streams", "--data-dir", folder, "--apply"], {
      env: { NATS_URL: "" },
    });
    expect([applied.code, applied.stderr]).toEqual([0, ""]);
    expect(applied.stdout).toMatch(/JOBS_HIGH +3\n/);
    await nats.restart();
    await using bus = await connectBus({ servers: nats.url, name: "test" });
    expect([await bus.planUpgrade(), (await bus.streamState("JOBS_HIGH")).messages]).toEqual([[], 3]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
