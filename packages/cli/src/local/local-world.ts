import { isDeepStrictEqual } from "node:util";

/** What a plugin finds outside when it runs locally, as a test file says; all of it may be left out. */
export interface LocalWorld {
  readonly secrets: Readonly<Record<string, string>>;
  /** State before the call. */
  readonly kv: Readonly<Record<string, string>>;
  /** Answers by request: method (GET when left out) and URL decide. */
  readonly http: readonly LocalHttpAnswer[];
}

export interface LocalHttpAnswer {
  readonly method?: string;
  readonly url: string;
  /** 200 when left out. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text as it stands; anything else as JSON. */
  readonly body?: unknown;
}

/** What a call has sent out. */
export interface SentEvent {
  readonly name: string;
  readonly data: unknown;
}

export interface SentJob {
  readonly type: string;
  readonly payload: unknown;
}

/** JSON where it is JSON, else the text. */
export function readable(bytes: Uint8Array): unknown {
  const text = new TextDecoder().decode(bytes);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Text as it stands; anything else as JSON. */
export function toBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
}

export function sameValue(one: unknown, other: unknown): boolean {
  return isDeepStrictEqual(one, other);
}
