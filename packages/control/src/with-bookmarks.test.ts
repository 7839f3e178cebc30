import { expect, test } from "vitest";
import { withBookmarks } from "./with-bookmarks.ts";

test("the place of the start first, and while nothing comes how far was looked; never beyond what is still to come", async () => {
  let seen = "1";
  let give = Promise.withResolvers<string>();
  async function* updates(): AsyncGenerator<string> {
    for (;;) {
      const update = await give.promise;
      give = Promise.withResolvers();
      if (update === "end") return;
      yield update;
    }
  }
  const heard: string[] = [];
  let onHeard = Promise.withResolvers<void>();
  const done = (async () => {
    for await (const one of withBookmarks(
      updates(),
      () => seen,
      (position) => `at ${position}`,
      10,
    )) {
      heard.push(one);
      onHeard.resolve();
      onHeard = Promise.withResolvers();
    }
  })();
  await onHeard.promise;
  expect(heard).toEqual(["at 1"]);
  give.resolve("a");
  await onHeard.promise;
  seen = "7";
  await onHeard.promise;
  give.resolve("b");
  await onHeard.promise;
  give.resolve("end");
  await done;
  expect(heard).toEqual(["at 1", "a", "at 7", "b"]);
});

test("a place is not told before what was put aside up to there", async () => {
  let seen = "0";
  async function* updates(): AsyncGenerator<string> {
    // As a watcher does: put aside, and on its way.
    await new Promise((resolve) =>
      setTimeout(() => {
        seen = "5";
        resolve(undefined);
      }, 15),
    );
    for (let turn = 0; turn < 20; turn += 1) await undefined;
    yield "5";
  }
  const heard: string[] = [];
  for await (const one of withBookmarks(
    updates(),
    () => seen,
    (position) => `at ${position}`,
    5,
  ))
    heard.push(one);
  expect(heard).toEqual(["at 0", "5"]);
});

test("who leaves ends what it heard from", async () => {
  let ended = false;
  async function* updates(): AsyncGenerator<string> {
    try {
      for (;;) yield "a";
    } finally {
      ended = true;
    }
  }
  for await (const _ of withBookmarks(updates(), () => "", String)) break;
  expect(ended).toBe(true);
});
