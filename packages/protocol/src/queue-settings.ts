/** What the `queues` bucket holds under a queue's name, as JSON. */
export interface QueueSettings {
  readonly paused: boolean;
  /** How many of its jobs may wait before submissions are refused; 0: any number. */
  readonly maxWaitingJobs: number;
  /** How many bytes of payload its jobs that wait may have; 0: any number. */
  readonly maxWaitingBytes: number;
}

export function encodeQueueSettings({ paused, ...bounds }: QueueSettings): Uint8Array {
  const set = Object.entries(bounds).filter(([, bound]) => bound !== 0);
  return new TextEncoder().encode(JSON.stringify({ paused, ...Object.fromEntries(set) }));
}

/** @throws SyntaxError when the bytes are not JSON */
export function decodeQueueSettings(bytes: Uint8Array): QueueSettings {
  const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
  const settings = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  return {
    paused: settings["paused"] === true,
    maxWaitingJobs: boundOf(settings["maxWaitingJobs"]),
    maxWaitingBytes: boundOf(settings["maxWaitingBytes"]),
  };
}

function boundOf(value: unknown): number {
  return typeof value === "number" && value > 0 ? value : 0;
}
