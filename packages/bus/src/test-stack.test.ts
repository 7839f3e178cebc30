import { expect, test } from "vitest";
import { TestStack } from "./test-stack.ts";

const quick = (stopped: string[], name: string): AsyncDisposable => ({
  async [Symbol.asyncDispose]() {
    stopped.push(name);
  },
});
const endless: AsyncDisposable = { [Symbol.asyncDispose]: () => new Promise<void>(() => undefined) };

test("steps stop in the reverse order, and one that does not end is named", async () => {
  const stopped: string[] = [];
  const stack = new TestStack({ stepMs: 50 });
  stack.use("broker", quick(stopped, "broker"));
  stack.use("control", endless);
  stack.use("worker", quick(stopped, "worker"));
  await expect(stack.move()[Symbol.asyncDispose]()).rejects.toThrow(
    /took too long: worker \d+ ms, control has not ended after \d+ ms, broker \d+ ms$/,
  );
  expect(stopped).toEqual(["worker", "broker"]);
  await stack[Symbol.asyncDispose]();
});

test("all steps together have a bound, too", async () => {
  const stack = new TestStack({ stepMs: 1500, allMs: 10 });
  for (const name of ["a", "b"]) stack.use(name, endless);
  const startedAt = performance.now();
  await expect(stack[Symbol.asyncDispose]()).rejects.toThrow(/b has not ended after \d+ ms, a has not ended/);
  expect(performance.now() - startedAt).toBeLessThan(2900);
});

test("what a step throws is thrown when all have been stopped", async () => {
  const stopped: string[] = [];
  const stack = new TestStack();
  stack.use("first", quick(stopped, "first"));
  stack.use("second", { [Symbol.asyncDispose]: () => Promise.reject(new Error("broken")) });
  await expect(stack[Symbol.asyncDispose]()).rejects.toThrow("broken");
  expect(stopped).toEqual(["first"]);
});
