import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import {
  MillraceError,
  SettingSource,
  SettingsRuntimeService,
  WatchSettingsResponseSchema,
  type WatchSettingsRequest,
} from "@millrace/protocol";
import { bindService, createDirectTransport, createPipeline, type RpcTransport } from "@millrace/rpc";
import { createLogger } from "@millrace/service-kit";
import { expect, test } from "vitest";
import { loadGatewayConfig } from "./config.ts";
import { rateLimits } from "./rate-limits.ts";
import { SettingsFeed } from "./settings-feed.ts";

type State = Readonly<Record<string, JsonValue>>;

interface Watch {
  readonly state: State;
  readonly stays: boolean;
}

/** A control that serves these watches, one after the other, and is away while there are none. */
function controlOf(watches: Watch[]): { transport: RpcTransport; asked: WatchSettingsRequest[] } {
  const asked: WatchSettingsRequest[] = [];
  const service = bindService(SettingsRuntimeService, {
    async *watchSettings(request, { signal }) {
      asked.push(request);
      const watch = watches.shift();
      if (watch === undefined) throw new MillraceError("unavailable", "away");
      const values = Object.entries(watch.state).map(([name, value]) => [name, fromJson(ValueSchema, value)] as const);
      yield create(WatchSettingsResponseSchema, { values: Object.fromEntries(values) });
      if (!watch.stays) return;
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    },
  });
  return { transport: createDirectTransport(createPipeline({ services: [service] })), asked };
}

test("comes again while control is away, and keeps what it knows until it hears something else", async () => {
  const logger = createLogger({ name: "test", level: "silent" });
  const live = loadGatewayConfig({ env: { MILLRACE_ADDRESS_RATE: "9" } });
  const limits = rateLimits(live.values);
  const first = limits.perIdentity;
  const fixed = { addressRate: 1, addressBurst: 2 };
  const watches: Watch[] = [];
  const { transport, asked } = controlOf(watches);
  await using feed = new SettingsFeed(transport, live, logger);
  expect([feed.known, first]).toEqual([false, { perSecond: 20_000, burst: 40_000 }]);
  await expect.poll(() => asked.length).toBeGreaterThan(1);
  watches.push({ state: { identityRate: 5, identityBurst: 6, jobRate: "many", ...fixed }, stays: false });
  await expect.poll(() => feed.known).toBe(true);
  const heard = asked.length;
  await expect.poll(() => asked.length, { timeout: 5_000 }).toBeGreaterThan(heard);
  expect(limits.perIdentity).toEqual({ perSecond: 5, burst: 6 });
  // The same object, so that what was leased by it still counts.
  expect(limits.perIdentity).toBe(limits.perIdentity);
  expect(limits.jobs.perSecond).toBe(50_000);
  expect(limits.perAddress).toEqual({ perSecond: 9, burst: 2 });
  watches.push({ state: { ...fixed, logLevel: "error" }, stays: true });
  await expect.poll(() => limits.perIdentity, { timeout: 5_000 }).toEqual(first);
  expect(logger.level).toBe("error");

  const said = asked[0]?.settings;
  expect(said?.process).toBe("gateway");
  const names = said?.settings.map(({ name }) => name) ?? [];
  expect(names).toContain("httpPort");
  // What may change and is not fixed here says nothing that control does not know.
  expect(names).not.toContain("identityRate");
  expect(said?.settings.find(({ name }) => name === "addressRate")?.source).toBe(SettingSource.ENVIRONMENT);
});
