import { create, equals, fromJsonString } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Bus } from "@millrace/bus";
import {
  WatchSettingsResponseSchema,
  type SettingsRuntimeService,
  type WatchSettingsResponse,
} from "@millrace/protocol";
import { announceSettings } from "@millrace/service-kit";

/** What processes that see neither database nor bucket hear of settings by; no door offers it. */
export function settingsRuntimeService(bus: Bus): ServiceImpl<typeof SettingsRuntimeService> {
  return {
    async *watchSettings({ settings }, call) {
      await using _ = settings === undefined ? undefined : announceSettings(bus.kv("processes"), settings, bus.logger);
      yield* watchSettings(bus, call.signal);
    },
  };
}

/** Everything that is set: at once, and whole again at every change. A slow reader skips states. */
async function* watchSettings(bus: Bus, signal: AbortSignal): AsyncGenerator<WatchSettingsResponse> {
  const values = new Map<string, Value>();
  let changed = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  const onAbort = (): void => aborted.resolve();
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) return;
  const decoder = new TextDecoder();
  await using watch = bus.kv("settings").watch({
    keys: "*",
    onEntry: (name, entry) => {
      values.delete(name);
      try {
        if (entry !== undefined) values.set(name, fromJsonString(ValueSchema, decoder.decode(entry.value)));
      } catch (error) {
        bus.logger.warn({ name, err: error }, "a setting does not parse");
      }
      changed.resolve();
    },
  });
  try {
    await Promise.race([watch.ready, aborted.promise]);
    let told: WatchSettingsResponse | undefined;
    while (!signal.aborted) {
      // Before the look at the values: a change while the reader has a state must not be slept over.
      changed = Promise.withResolvers();
      const state = create(WatchSettingsResponseSchema, { values: Object.fromEntries(values) });
      if (told === undefined || !equals(WatchSettingsResponseSchema, told, state)) yield (told = state);
      await Promise.race([changed.promise, aborted.promise]);
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
