import { watch } from "node:fs/promises";
import { sep } from "node:path";

/** What a build writes, and what no build reads. */
const ignored = /(^|[\\/])(node_modules|\.[^\\/]+|tests|target)([\\/]|$)|\.(wasm|sig|pem|pub)$|~$/;

/**
 * Yields once the files of a project have been quiet for `debounceMs` after a change: an editor writes in several steps.
 * Ends when the signal aborts. Changes while the consumer works are one change more.
 */
export async function* watchProject(folder: string, debounceMs: number, signal: AbortSignal): AsyncGenerator<void> {
  const end = new AbortController();
  const both = AbortSignal.any([signal, end.signal]);
  let settled = Promise.withResolvers<boolean>();
  let timer: NodeJS.Timeout | undefined;
  const watching = (async () => {
    for await (const { filename } of watch(folder, { recursive: true, signal: both })) {
      if (filename === null || ignored.test(filename.replaceAll(sep, "/"))) continue;
      clearTimeout(timer);
      timer = setTimeout(() => settled.resolve(true), debounceMs);
    }
  })();
  const ended = watching.then(
    () => false,
    (error: unknown) => {
      if (both.aborted) return false;
      throw error;
    },
  );
  try {
    while (await Promise.race([settled.promise, ended])) {
      settled = Promise.withResolvers<boolean>();
      yield;
    }
  } finally {
    clearTimeout(timer);
    end.abort();
    await ended;
  }
}
