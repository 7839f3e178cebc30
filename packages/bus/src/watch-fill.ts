import type { JetStreamApi } from "./jetstream-api.ts";
import { pause } from "./pause.ts";
import { streamState, type StreamState } from "./stream-state.ts";

export interface FillOptions {
  readonly stream: string;
  readonly everyMs?: number;
  /** Share of the byte bound from which the stream counts as near it, and below which it no longer does. */
  readonly near?: number;
  readonly clear?: number;
  /** At each change, and once at the start when it is near already. */
  readonly onChange: (near: boolean, state: StreamState) => void;
}

/** Watches a stream that refuses messages when it is full, so that others can push back before it does. */
export function watchFill(api: JetStreamApi, options: FillOptions): AsyncDisposable {
  const abort = new AbortController();
  const { near = 0.9, clear = 0.8, everyMs = 2000 } = options;
  const run = async (): Promise<void> => {
    let isNear = false;
    while (!abort.signal.aborted && !api.link.closed) {
      try {
        const state = await streamState(api, options.stream);
        const share = state.maxBytes > 0 ? state.bytes / state.maxBytes : 0;
        if (share >= (isNear ? clear : near) !== isNear) {
          isNear = !isNear;
          options.onChange(isNear, state);
        }
      } catch (error) {
        // Not knowing is not being full; publishers hear from the broker itself.
        api.link.logger.warn({ stream: options.stream, err: error }, "fill of the stream unknown");
      }
      await pause(everyMs, { signal: abort.signal });
    }
  };
  const running = run();
  return {
    [Symbol.asyncDispose]: async () => {
      abort.abort();
      await running;
    },
  };
}
