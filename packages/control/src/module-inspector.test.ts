import { monitorEventLoopDelay } from "node:perf_hooks";
import { expect, test } from "vitest";
import { ModuleInspector } from "./module-inspector.ts";

/** @returns an unsigned number as WASM's binary form has it (LEB128) */
function leb(value: number): number[] {
  const bytes: number[] = [];
  do {
    bytes.push((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value >>>= 7;
  } while (value > 0);
  return bytes;
}

function section(id: number, ...content: (Uint8Array | readonly number[])[]): Uint8Array[] {
  const size = content.reduce((sum, part) => sum + part.length, 0);
  return [Uint8Array.from([id, ...leb(size)]), ...content.map((part) => Uint8Array.from(part))];
}

/** Blocks whose type has many values: V8 looks at each value of each. */
function slowModule(functions: number, blocks: number): Uint8Array {
  const values = 100;
  const one = [0x02, 1, 0x00, 0x0b, ...new Uint8Array(values).fill(0x1a)]; // block (type 1), unreachable, end, drops
  const code = Uint8Array.from([0, ...Array.from({ length: blocks }, () => one).flat(), 0x0b]);
  const bodies = Array.from({ length: functions }, () => [Uint8Array.from(leb(code.length)), code]).flat();
  return Buffer.concat([
    Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]),
    ...section(1, [2, 0x60, 0, 0, 0x60, 0, values], new Uint8Array(values).fill(0x7f)),
    ...section(3, leb(functions), new Uint8Array(functions)),
    ...section(7, [1, 3, 0x72, 0x75, 0x6e, 0, 0]),
    ...section(10, leb(functions), ...bodies),
  ]);
}

test("whoever looks at a module keeps nobody waiting, and says what it exports", async () => {
  await using inspector = new ModuleInspector();
  await inspector.inspect(slowModule(1, 1)); // the thread is there
  const module = slowModule(60, 1_200);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const startedAt = performance.now();
  const answer = await inspector.inspect(module);
  const tookMs = performance.now() - startedAt;
  delay.disable();
  expect(answer).toEqual({ problems: [], exports: ["run"] });
  expect(delay.max / 1e6).toBeLessThan(Math.max(100, tookMs / 2));
  expect((await inspector.inspect(new Uint8Array(8))).problems[0]?.field).toBe("module");
});

test("more than wait at a time are told to come again, and a stop ends what waits", async () => {
  const inspector = new ModuleInspector();
  const module = slowModule(1, 1_000);
  const all = Promise.allSettled(Array.from({ length: 40 }, () => inspector.inspect(module)));
  await inspector[Symbol.asyncDispose]();
  const codes = (await all).map((one) => (one.status === "rejected" ? (one.reason as { code: string }).code : "done"));
  expect(codes.filter((code) => code === "resource_exhausted").length).toBeGreaterThan(20);
  expect(codes.filter((code) => code === "unavailable").length).toBeGreaterThan(0);
});
