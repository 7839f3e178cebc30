/** One plugin in this thread: by Millrace's host, by its bare exports, and by Extism's own worker with a timeout. */
import { readFile } from "node:fs/promises";
import { loadPlugin } from "@millrace/plugin-host";
import { createPlugin } from "@extism/extism";
import { percentile, serveBench } from "./child.ts";

await serveBench<{ file: string }>(async ({ file }) => {
  const bytes = new Uint8Array(await readFile(file));
  const module = await WebAssembly.compile(bytes);
  const none = new Uint8Array(0);
  const input = new Uint8Array(256).fill(97);
  const imports = Object.fromEntries(
    WebAssembly.Module.imports(module).map(({ name }) => [name, () => (name.startsWith("http_status") ? 200 : 0n)]),
  );

  const timed = async (calls: number, call: () => unknown): Promise<number[]> => {
    const times: number[] = [];
    for (let n = 0; n < calls; n++) {
      const start = performance.now();
      const result = call();
      if (result instanceof Promise) await result;
      times.push((performance.now() - start) * 1000);
    }
    return times.sort((a, b) => a - b);
  };
  const perSecond = (times: readonly number[]): number => 1e6 / (times.reduce((sum, us) => sum + us, 0) / times.length);

  return {
    async work({ calls, kind, exported }) {
      const count = Number(calls);
      if (kind === "bare") {
        const instance = await WebAssembly.instantiate(module, { "extism:host/env": imports });
        const touch = instance.exports["touch"] as () => number;
        const times = await timed(count, () => touch());
        return { p50: percentile(times, 0.5) };
      }
      if (kind === "extism") {
        const plugin = await createPlugin(
          { wasm: [{ data: bytes }] },
          { runInWorker: true, timeoutMs: 5000, functions: {} },
        );
        const times = await timed(count, () => plugin.call(String(exported), input));
        await plugin.close();
        return { perSecond: perSecond(times) };
      }
      if (kind === "fresh") {
        const times = await timed(count, () => WebAssembly.instantiate(module, { "extism:host/env": imports }));
        return { p50: percentile(times, 0.5) };
      }
      if (kind === "millrace") {
        const plugin = await loadPlugin(bytes);
        return { perSecond: perSecond(await timed(count, () => plugin.call(String(exported), input))) };
      }
      const plugin = await loadPlugin(bytes, { stateful: kind === "stateful" });
      const times = await timed(count, async () => {
        const result = await plugin.call("touch", none);
        // Without state the first byte is 1 after every call: the export returns 0.
        if (kind === "hermetic" && !result.ok) throw new Error(`state survived: ${result.message}`);
      });
      return { p50: percentile(times, 0.5) };
    },
  };
});
