import type { CallContext, ExtismPluginOptions } from "@extism/extism";
import type { LogLevel } from "./call-result.ts";
import type { CallState } from "./call-state.ts";
import { HostMemory } from "./host-memory.ts";
import { progressFunction } from "./progress-function.ts";

type HostFunctions = NonNullable<ExtismPluginOptions["functions"]>[string];

const encoder = new TextEncoder();
/** By the figure that `log.write` takes. */
const logLevels: readonly LogLevel[] = ["trace", "debug", "info", "warn", "error"];

/** The functions of `millrace:host/…` that answer at once, by module. Zero stands for "none" among addresses. */
export function millraceFunctions(state: CallState): Record<string, HostFunctions> {
  const memory = new HostMemory(state);
  return {
    "millrace:host/job": {
      context: (context: CallContext) => {
        const json = state.learn("context", () => encoder.encode(JSON.stringify(state.call.context ?? {})));
        return memory.store(context, json);
      },
    },
    "millrace:host/log": {
      write: (context: CallContext, level: number, text: bigint) => {
        memory.log(context, logLevels[level] ?? "info", text);
      },
    },
    "millrace:host/progress": { report: progressFunction(state, memory) },
    "millrace:host/http": {
      last_body: (context: CallContext) => (state.http ? memory.store(context, state.http.body) : 0n),
    },
    "millrace:host/error": {
      last: (context: CallContext) =>
        state.lastError === undefined ? 0n : memory.store(context, encoder.encode(state.lastError)),
    },
  };
}
