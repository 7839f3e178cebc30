import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs, timestampNow } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import {
  PluginLogBatchSchema,
  pluginLogSubject,
  WatchPluginLogsResponseSchema,
  type WatchPluginLogsRequest,
  type WatchPluginLogsResponse,
} from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** Lines that a watcher may be behind; the oldest go first, and a line says how many. */
const mostLines = 2000;

/** What the plugin's calls log on all workers, from here on, for as long as the caller stays. */
export async function* watchPluginLogs(
  context: ControlContext,
  { name }: WatchPluginLogsRequest,
  { signal }: Pick<HandlerContext, "signal">,
): AsyncGenerator<WatchPluginLogsResponse> {
  await context.plugins.get(name);
  let lines: WatchPluginLogsResponse[] = [];
  let dropped = 0;
  let wake = Promise.withResolvers<void>();
  using subscription = context.bus.subscribe(pluginLogSubject(name), {}, (message) => {
    lines.push(...readLines(message.data));
    if (lines.length > mostLines) dropped += lines.splice(0, lines.length - mostLines).length;
    wake.resolve();
  });
  void subscription;
  const onAbort = (): void => wake.resolve();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    while (!signal.aborted) {
      if (lines.length === 0) {
        await wake.promise;
        wake = Promise.withResolvers();
        continue;
      }
      const text = `${dropped} lines were dropped: this watcher is too slow`;
      if (dropped > 0) yield create(WatchPluginLogsResponseSchema, { at: timestampNow(), level: "warn", text });
      dropped = 0;
      const ready = lines;
      lines = [];
      yield* ready;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function readLines(data: Uint8Array): WatchPluginLogsResponse[] {
  try {
    const { version, entries } = fromBinary(PluginLogBatchSchema, data);
    return entries.map(({ atMs, jobId, level, text }) =>
      create(WatchPluginLogsResponseSchema, { at: timestampFromMs(Math.round(atMs)), version, jobId, level, text }),
    );
  } catch {
    // A batch that does not decode is no line of a log.
    return [];
  }
}
