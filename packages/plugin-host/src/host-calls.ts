import type { JobErrorCode } from "@millrace/protocol";
import type { Breach } from "./breach.ts";

/** What a host function is asked, and how it answers, beside a body of bytes in either direction. */
export interface HostCalls {
  /** Body: of the request, and of the response. */
  "http.request": {
    ask: { method: string; url: string; headers: Readonly<Record<string, string>> };
    answer: { status: number; headers: Readonly<Record<string, string>> };
  };
  /** The answer's body is the value. */
  "kv.get": { ask: { key: string }; answer: { found: boolean } };
  /** The body is the value. ttlMs is left out for a value that stays. */
  "kv.set": { ask: { key: string; ttlMs?: number }; answer: Readonly<Record<string, never>> };
  "kv.delete": { ask: { key: string }; answer: Readonly<Record<string, never>> };
  /** Keys in ascending order. */
  "kv.list": { ask: { prefix: string; limit: number }; answer: { keys: readonly string[] } };
  "secrets.get": { ask: { name: string }; answer: { value: string } };
  /** The body is the event's data as JSON. The id makes a publish that is repeated one event. */
  "events.publish": { ask: { name: string; id?: string }; answer: { id: string } };
  /** The body is the job's payload. What else is in the plugin's request is passed on as it is. */
  "jobs.submit": { ask: { type: string; [option: string]: unknown }; answer: { id: string } };
  /** Not answered. Percent from 0 to 100. */
  progress: { ask: { percent: number; message: string }; answer: Readonly<Record<string, never>> };
}

export type HostFunction = keyof HostCalls;

/** One ask, told apart by its function. */
export type HostAsk = {
  readonly [F in HostFunction]: {
    readonly function: F;
    readonly meta: HostCalls[F]["ask"];
    readonly body?: Uint8Array;
  };
}[HostFunction];

/** Why an ask was not answered. */
export interface HostFailure {
  readonly code: JobErrorCode;
  readonly message: string;
  readonly breach?: Breach;
  /** Ends the call with the code; otherwise the plugin gets an error value that it can handle. */
  readonly fatal: boolean;
}

export type HostAnswer =
  | { readonly meta: object; readonly body?: Uint8Array; readonly failure?: never }
  | { readonly failure: HostFailure };

/** What a job's plugin may know of it. */
export interface CallContext {
  readonly jobId: string;
  /** From 1. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** Unix time in milliseconds; 0 when there is none. */
  readonly deadlineMs: number;
  readonly tags: readonly string[];
  readonly queue: string;
  readonly type: string;
  readonly correlationId: string;
}

/**
 * What an entry of a plugin's state takes of its quota beside its key and value: the broker keeps about as much for it. Without it
 * a small quota would be a great many keys, and each list goes through them all.
 */
export const kvEntryBytes = 64;

/** What the operator lets a plugin do, of what its manifest declares. The plain form of PluginCapabilities. */
export interface Capabilities {
  readonly http: readonly string[];
  /** 0 is none. */
  readonly kvBytes: number;
  readonly secrets: readonly string[];
  readonly events: readonly string[];
  readonly jobs: readonly string[];
}

export const noCapabilities: Capabilities = { http: [], kvBytes: 0, secrets: [], events: [], jobs: [] };
