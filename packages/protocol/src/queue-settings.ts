/** What the `queues` bucket holds under a queue's name, as JSON. */
export interface QueueSettings {
  readonly paused: boolean;
}

export function encodeQueueSettings(settings: QueueSettings): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ paused: settings.paused }));
}

/** @throws SyntaxError when the bytes are not JSON */
export function decodeQueueSettings(bytes: Uint8Array): QueueSettings {
  const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
  return { paused: typeof value === "object" && value !== null && "paused" in value && value.paused === true };
}
