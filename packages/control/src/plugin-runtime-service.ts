import { setTimeout as delay } from "node:timers/promises";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { Bus } from "@millrace/bus";
import type { InvokePluginRequest, InvokePluginResponse, PluginRuntimeService } from "@millrace/protocol";
import { invokePlugin } from "./invoke-plugin.ts";
import { watchExtensions } from "./watch-extensions.ts";

/** A worker may hear of a plugin a moment after its caller did: it is asked again after so many ms. */
const lagPausesMs = [10, 25, 50, 100, 200, 400];

/** What the gateway asks for plugins by; no door offers it. */
export function pluginRuntimeService(bus: Bus): ServiceImpl<typeof PluginRuntimeService> {
  return {
    invokePlugin: (request, call) => invokeExtension(bus, request, call),
    watchExtensions: (_request, call) => watchExtensions(bus, call.signal),
  };
}

async function invokeExtension(
  bus: Bus,
  request: InvokePluginRequest,
  call: HandlerContext,
): Promise<InvokePluginResponse> {
  for (const pauseMs of lagPausesMs) {
    const response = await invokePlugin(bus, request, { waitMs: call.timeoutMs() });
    if (response.error?.code !== "HANDLER_GONE") return response;
    await delay(pauseMs, undefined, { signal: call.signal });
  }
  return invokePlugin(bus, request, { waitMs: call.timeoutMs() });
}
