import type { ExecutorCall } from "./executor-protocol.ts";
import type { LoadedPlugin } from "./load-plugin.ts";

/**
 * Calls that may wait for host functions, before they begin. Plugins take turns, so that one with many calls does not hold up the
 * others. Bounded by its owner, together with the queue.
 */
export class ParkedCalls {
  readonly #queues = new Map<LoadedPlugin, ExecutorCall[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(plugin: LoadedPlugin, call: ExecutorCall): void {
    const queue = this.#queues.get(plugin);
    if (queue) queue.push(call);
    else this.#queues.set(plugin, [call]);
    this.#size++;
  }

  /** The next call that can begin; undefined when there is none. */
  take(): { readonly plugin: LoadedPlugin; readonly call: ExecutorCall } | undefined {
    for (const [plugin, queue] of this.#queues) {
      const call = plugin.isFree ? queue.shift() : undefined;
      if (!call) continue;
      this.#size--;
      this.#queues.delete(plugin);
      if (queue.length > 0) this.#queues.set(plugin, queue);
      return { plugin, call };
    }
    return undefined;
  }

  has(callId: number): boolean {
    return [...this.#queues.values()].some((queue) => queue.some((call) => call.callId === callId));
  }
}
