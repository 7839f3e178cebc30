import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { PartStack, stopInTime } from "./part-stack.ts";

function listen() {
  const lines: object[] = [];
  return { lines, logger: { warn: (fields: object) => void lines.push(fields) } };
}

class Journal implements AsyncDisposable {
  readonly #stop: () => Promise<void>;

  constructor(stop: () => Promise<void>) {
    this.#stop = stop;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stop();
  }
}

test("parts stop in the reverse order of their start, one after the other", async () => {
  const { lines, logger } = listen();
  const stopped: string[] = [];
  const starting = new PartStack({ logger });
  const part = (name: string): AsyncDisposable => ({
    async [Symbol.asyncDispose]() {
      stopped.push(`${name} begins`);
      await Promise.resolve();
      stopped.push(`${name} ends`);
    },
  });
  starting.use(part("first"));
  starting.use({ [Symbol.dispose]: () => void stopped.push("second") });
  starting.use(part("third"));
  const running = starting.move();
  await starting[Symbol.asyncDispose]();
  expect(stopped).toEqual([]);
  await running[Symbol.asyncDispose]();
  expect(stopped).toEqual(["third begins", "third ends", "second", "first begins", "first ends"]);
  await running[Symbol.asyncDispose]();
  expect(stopped).toHaveLength(5);
  expect(lines).toEqual([]);
});

test("a part that hangs is named, and keeps no other from being stopped", async () => {
  const { lines, logger } = listen();
  const stopped: string[] = [];
  const stack = new PartStack({ logger, withinMs: 50 });
  stack.use({ [Symbol.dispose]: () => void stopped.push("first") });
  stack.use(new Journal(() => new Promise(() => undefined)));
  stack.use({ [Symbol.dispose]: () => void stopped.push("third") }, "third");
  stack.use({ [Symbol.asyncDispose]: () => new Promise<void>(() => undefined) }, "watch");
  await stack[Symbol.asyncDispose]();
  expect(stopped).toEqual(["third", "first"]);
  expect(lines).toMatchObject([{ part: "watch" }, { part: "Journal" }]);
});

test("a part that fails to stop keeps no other from being stopped, and its error is thrown", async () => {
  const { logger } = listen();
  const stopped: string[] = [];
  const failing = (words: string): Disposable => ({
    [Symbol.dispose]: () => {
      throw new Error(words);
    },
  });
  const one = new PartStack({ logger });
  one.use({ [Symbol.dispose]: () => void stopped.push("first") });
  one.use(failing("a"));
  await expect(one[Symbol.asyncDispose]()).rejects.toThrow("a");
  expect(stopped).toEqual(["first"]);
  const two = new PartStack({ logger });
  two.use(failing("a"));
  two.use(failing("b"));
  await expect(two[Symbol.asyncDispose]()).rejects.toMatchObject({ errors: [{ message: "b" }, { message: "a" }] });
});

test("what a part throws when nobody waits for it any more is nobody's error", async () => {
  const { lines, logger } = listen();
  const late = Promise.withResolvers<void>();
  await stopInTime("late", late.promise, logger, 1);
  expect(lines).toEqual([{ part: "late", withinMs: 1 }]);
  // An unhandled rejection fails the run.
  late.reject(new Error("too late"));
  await nextTurn();
});
