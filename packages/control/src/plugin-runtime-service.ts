import type { ServiceImpl } from "@connectrpc/connect";
import type { Bus } from "@millrace/bus";
import type { PluginRuntimeService } from "@millrace/protocol";
import { invokePlugin } from "./invoke-plugin.ts";
import { watchExtensions } from "./watch-extensions.ts";

/** What the gateway asks for plugins by; no door offers it. */
export function pluginRuntimeService(bus: Bus): ServiceImpl<typeof PluginRuntimeService> {
  return {
    invokePlugin: (request, call) => invokePlugin(bus, request, { waitMs: call.timeoutMs() }),
    watchExtensions: (_request, call) => watchExtensions(bus, call.signal),
  };
}
