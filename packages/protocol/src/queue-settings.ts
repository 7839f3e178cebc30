/** What the `queues` bucket holds under a queue's name, as JSON. */
export interface QueueSettings {
  readonly paused: boolean;
  /** How many of its jobs may wait before submissions are refused; 0: any number. */
  readonly maxWaitingJobs: number;
}

export function encodeQueueSettings({ paused, maxWaitingJobs }: QueueSettings): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ paused, ...(maxWaitingJobs === 0 ? {} : { maxWaitingJobs }) }));
}

/** @throws SyntaxError when the bytes are not JSON */
export function decodeQueueSettings(bytes: Uint8Array): QueueSettings {
  const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
  const { paused, maxWaitingJobs } = (typeof value === "object" && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  return {
    paused: paused === true,
    maxWaitingJobs: typeof maxWaitingJobs === "number" && maxWaitingJobs > 0 ? maxWaitingJobs : 0,
  };
}
