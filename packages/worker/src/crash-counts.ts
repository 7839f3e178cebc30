import type { Bus } from "@millrace/bus";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * How often a job took its worker down with it. Counted in a bucket before the job runs and forgotten when it ends, so what
 * is left over are the runs that nobody came back from.
 */
export class CrashCounts {
  readonly #bus: Bus;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /** @returns runs begun and not ended, this one included */
  async begin(jobId: string): Promise<number> {
    const bucket = this.#bus.kv("crashes");
    const entry = await bucket.get(jobId);
    const count = (entry === undefined ? 0 : Number(decoder.decode(entry.value)) || 0) + 1;
    await bucket.put(jobId, encoder.encode(String(count)));
    return count;
  }

  async end(jobId: string): Promise<void> {
    await this.#bus.kv("crashes").delete(jobId);
  }
}
