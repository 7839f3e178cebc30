import { setImmediate as nextTurn } from "node:timers/promises";

/** So often a watcher that hears of nothing is told how far it has heard, ms: what it comes back to is still kept then. */
const bookmarkMs = 30_000;

/**
 * The same updates, and between them, while none comes, the place up to which there are none.
 * @param seen the place of the newest event that was looked at for this watcher, at once; "" when there is none
 */
export async function* withBookmarks<T, B>(
  updates: AsyncIterator<T>,
  seen: () => string,
  bookmarkOf: (position: string) => B,
  everyMs = bookmarkMs,
): AsyncGenerator<T | B> {
  const first = seen();
  let told = first;
  try {
    if (first !== "") yield bookmarkOf(first);
    for (let next = settled(updates.next()); ;) {
      const update = await next.within(everyMs);
      if (update !== undefined) {
        if (update.done === true) return;
        yield update.value;
        next = settled(updates.next());
        continue;
      }
      const position = seen();
      if (position === told || position === "") continue;
      // What was put aside for the watcher before that place has come by then.
      await nextTurn();
      if (next.isSettled) continue;
      told = position;
      yield bookmarkOf(position);
    }
  } finally {
    await updates.return?.();
  }
}

interface Settled<T> {
  readonly isSettled: boolean;
  /** Undefined when it takes longer. */
  within(ms: number): Promise<IteratorResult<T> | undefined>;
}

function settled<T>(update: Promise<IteratorResult<T>>): Settled<T> {
  let isSettled = false;
  const mark = (): void => void (isSettled = true);
  update.then(mark, mark);
  return {
    get isSettled() {
      return isSettled;
    },
    async within(ms) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<undefined>((resolve) => {
        timer = setTimeout(resolve, ms, undefined);
      });
      try {
        return await Promise.race([update, late]);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
