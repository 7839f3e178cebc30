import { create, equals } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import {
  decodePluginRecord,
  PluginState,
  WatchExtensionsResponseSchema,
  type Plugin,
  type WatchExtensionsResponse,
} from "@millrace/protocol";

/** What active plugins extend at the gateway: at once, and whole again at every change. A slow reader skips states. */
export async function* watchExtensions(bus: Bus, signal: AbortSignal): AsyncGenerator<WatchExtensionsResponse> {
  const plugins = new Map<string, Plugin>();
  let changed = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  const onAbort = (): void => aborted.resolve();
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) return;
  await using watch = bus.kv("plugins").watch({
    onEntry: (name, entry) => {
      plugins.delete(name);
      try {
        if (entry !== undefined) plugins.set(name, decodePluginRecord(entry.value));
      } catch (error) {
        bus.logger.warn({ plugin: name, err: error }, "plugin record does not parse");
      }
      changed.resolve();
    },
  });
  try {
    await Promise.race([watch.ready, aborted.promise]);
    let told: WatchExtensionsResponse | undefined;
    while (!signal.aborted) {
      // Before the look at the plugins: a change while the reader has a state must not be slept over.
      changed = Promise.withResolvers();
      const state = extensionsOf(plugins.values());
      if (told === undefined || !equals(WatchExtensionsResponseSchema, told, state)) yield (told = state);
      await Promise.race([changed.promise, aborted.promise]);
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function extensionsOf(plugins: Iterable<Plugin>): WatchExtensionsResponse {
  const extending = [...plugins].flatMap(({ state, manifest }) =>
    state === PluginState.ACTIVE &&
    manifest !== undefined &&
    manifest.interceptors.length + manifest.endpoints.length > 0
      ? [{ name: manifest.name, interceptors: manifest.interceptors, endpoints: manifest.endpoints }]
      : [],
  );
  return create(WatchExtensionsResponseSchema, { plugins: extending.toSorted((a, b) => (a.name < b.name ? -1 : 1)) });
}
