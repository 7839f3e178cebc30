import { Buffer } from "node:buffer";
import { loadPlugin } from "./load-plugin.ts";

/** `(module (func (export "run")))` */
const leastModule = new Uint8Array(
  Buffer.from("0061736d01000000010401600000030201000707010372756e00000a040102000b", "hex"),
);

/**
 * Makes a thread ready for its first call. Importing Extism and making the first instance take some 40 ms, more than short
 * timeouts allow, and the jobs that come first would wait for it.
 */
export async function warmUp(): Promise<void> {
  const plugin = await loadPlugin(leastModule);
  await plugin.call("run", new Uint8Array(0));
}
