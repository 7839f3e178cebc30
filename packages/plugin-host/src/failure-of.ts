import type { CallContext } from "@extism/extism";
import type { Breach as MeterBreach } from "@millrace/wasm-meter";
import { CallFailure } from "./call-failure.ts";
import type { CallState } from "./call-state.ts";
import { copyRegion } from "./host-memory.ts";

const MAX_ERROR_BYTES = 8192;

/** Why a call ended that did not return: by a host function, by a limit of the meter, or by its own fault. */
export function failureOf(error: unknown, state: CallState, context: CallContext): CallFailure {
  if (state.failure) return state.failure;
  if (error instanceof CallFailure) return error;
  const reason = error instanceof Error ? error.message : "an exception that the plugin did not catch";
  const text = errorText(state, context);
  const words = text === undefined ? reason : `${reason}: ${text}`;
  const breach = state.gauge?.breachOf(error);
  return breach === undefined ? new CallFailure("TRAPPED", words) : breached(breach, words);
}

function breached(breach: MeterBreach, words: string): CallFailure {
  const { limit } = breach;
  switch (breach.code) {
    case "OUT_OF_FUEL":
      return new CallFailure("OUT_OF_FUEL", `used up its ${limit} units of fuel`, {
        resource: "fuel",
        figure: breach.used,
        limit,
        unit: "units",
      });
    case "OUT_OF_MEMORY": {
      const unit = breach.what === "memory" ? "pages" : "entries";
      const message = `${breach.what}: asked for ${breach.wanted} ${unit}; the limit is ${limit} (${words})`;
      return new CallFailure("OUT_OF_MEMORY", message, { resource: breach.what, figure: breach.wanted, limit, unit });
    }
    case "CALL_DEPTH":
      return new CallFailure(
        "TRAPPED",
        `calls nested too deep; the limit is ${limit}, or less with large frames (${words})`,
        {
          resource: "call_depth",
          figure: limit + 1,
          limit,
          unit: "calls",
        },
      );
  }
}

/** What the plugin has said of its failure; undefined when it said nothing. */
export function errorText({ error }: CallState, context: CallContext): string | undefined {
  if (!error) return undefined;
  try {
    return new TextDecoder().decode(copyRegion(context, error, MAX_ERROR_BYTES));
  } catch {
    return "the plugin's error message is gone: it freed the block";
  }
}
