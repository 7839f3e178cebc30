import { create, fromBinary, fromJsonString, toBinary } from "@bufbuild/protobuf";
import {
  PlatformEventSchema,
  platformEventSubject,
  PluginLogBatchSchema,
  pluginLogSubject,
  PluginState,
  PluginStatsSchema,
  pluginStatsSubject,
  RecordingSchema,
  type Plugin,
} from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { refusalOfCall, testModule, untilRecord } from "./plugin-fixture.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture();
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

async function upload(name: string, version: string, canaryPercent = 0): Promise<Plugin> {
  const handlers = [{ type: `${name}_job`, export: "run" }];
  const { plugin } = await fixture.plugins.uploadPlugin({
    manifest: { name, version, handlers },
    module: testModule(["run"], `${name} ${version}`),
    canaryPercent,
    canaryBounds: { failureIncrease: 0.1, fuelRatio: 2, minCalls: 10 },
  });
  if (plugin === undefined) throw new Error("no plugin");
  return plugin;
}

/** Says it until `end`: from when on control listens, nothing tells. */
async function repeat<T>(say: () => void, end: Promise<T>): Promise<T> {
  const timer = setInterval(say, 20);
  try {
    return await end;
  } finally {
    clearInterval(timer);
  }
}

/** What a worker says of one version's calls. */
function tell(name: string, version: string, sha256: string, calls: number, failures: number, fuelEach: number): void {
  const stats = create(PluginStatsSchema, {
    name,
    version,
    sha256,
    calls: BigInt(calls),
    failures: BigInt(failures),
    fuel: BigInt(calls * fuelEach),
  });
  fixture.bus.publish(pluginStatsSubject(name), toBinary(PluginStatsSchema, stats));
}

test.each([
  ["failures", 30, 12, 100, /calls failed \(40 %\), against \d+ of \d+ calls failed \([01] %\)/],
  ["fuel", 30, 0, 250, /used 250 fuel a call, against 100 of the version that serves/],
])("a canary that does worse is taken back, with the figures: %s", async (name, calls, failures, fuel, words) => {
  const serving = await upload(name, "1.0.0");
  const { canary } = await upload(name, "2.0.0", 20);
  const heard = Promise.withResolvers<string>();
  using subscription = fixture.bus.subscribe(platformEventSubject("plugin.canary_taken_back"), {}, ({ data }) => {
    heard.resolve(new TextDecoder().decode(data));
  });
  void subscription;
  const back = untilRecord(fixture.bus, name, (plugin) => plugin.canary === undefined);
  const plugin = await repeat(() => {
    tell(name, "1.0.0", serving.sha256, 100, 1, 100);
    tell(name, "2.0.0", canary?.version?.sha256 ?? "", calls, failures, fuel);
  }, back);
  expect(plugin).toMatchObject({ state: PluginState.ACTIVE, manifest: { version: "1.0.0" } });
  expect(plugin.stateReason).toContain("canary 2.0.0 was taken back: ");
  expect(plugin.stateReason).toMatch(words);
  const event = fromJsonString(PlatformEventSchema, await heard.promise);
  expect(JSON.stringify(event.data)).toMatch(words);
});

test("a canary that does as well stays, whatever was told before it began", async () => {
  const serving = await upload("fine", "1.0.0");
  tell("fine", "1.0.0", serving.sha256, 100, 0, 1);
  const { canary } = await upload("fine", "2.0.0", 20);
  const other = await upload("last", "1.0.0");
  const { canary: sick } = await upload("last", "2.0.0", 20);
  const back = untilRecord(fixture.bus, "last", (plugin) => plugin.canary === undefined);
  // When the end of this one was heard, so were the figures of the other, whose trial is older.
  await repeat(() => {
    tell("fine", "1.0.0", serving.sha256, 100, 5, 100);
    tell("fine", "2.0.0", canary?.version?.sha256 ?? "", 100, 6, 120);
    tell("last", "1.0.0", other.sha256, 10, 0, 1);
    tell("last", "2.0.0", sick?.version?.sha256 ?? "", 10, 10, 1);
  }, back);
  expect((await fixture.plugins.getPlugin({ name: "fine" })).plugin?.canary).toBeDefined();
});

test("what a plugin logs is watched from the call on", async () => {
  await upload("chatty", "1.0.0");
  const leave = new AbortController();
  const lines = fixture.plugins.watchPluginLogs({ name: "chatty" }, { signal: leave.signal })[Symbol.asyncIterator]();
  const first = lines.next();
  const batch = create(PluginLogBatchSchema, {
    name: "chatty",
    version: "1.0.0",
    entries: [
      { atMs: 1_700_000_000_000, jobId: "j1", level: "info", text: "one" },
      { atMs: 1_700_000_000_001, level: "warn", text: "two" },
    ],
  });
  const batches = (): unknown => fixture.bus.publish(pluginLogSubject("chatty"), toBinary(PluginLogBatchSchema, batch));
  expect((await repeat(batches, first)).value).toMatchObject({
    version: "1.0.0",
    jobId: "j1",
    level: "info",
    text: "one",
  });
  expect((await lines.next()).value).toMatchObject({ jobId: "", level: "warn", text: "two" });
  leave.abort();
  await expect(
    (async () => {
      while (!(await lines.next()).done);
    })(),
  ).rejects.toThrow(/cancel/i);
  const missing = fixture.plugins.watchPluginLogs({ name: "nobody" })[Symbol.asyncIterator]().next();
  expect(await refusalOfCall(missing)).toMatchObject({ code: "NotFound" });
});

test("a recording is kept under its job's id", async () => {
  const recording = create(RecordingSchema, { sha256: "ab", export: "run", input: new Uint8Array([1]), fuel: 5n });
  await fixture.bus.kv("recordings").put("job-1", toBinary(RecordingSchema, recording));
  const answer = (await fixture.plugins.getRecording({ jobId: "job-1" })).recording;
  expect(answer).toEqual(fromBinary(RecordingSchema, toBinary(RecordingSchema, recording)));
  expect(await refusalOfCall(fixture.plugins.getRecording({ jobId: "job-2" }))).toMatchObject({ code: "NotFound" });
});
