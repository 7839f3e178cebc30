import type { Capabilities } from "@millrace/plugin-host";

/** The call that a host function works for. */
export interface HostCaller {
  readonly plugin: string;
  readonly granted: Capabilities;
  /** Empty outside of a job. */
  readonly jobId: string;
  readonly correlationId: string;
  readonly traceparent: string;
  /** Fires when the call has ended, however. */
  readonly signal: AbortSignal;
  /** Jobs and events that the call has sent so far. */
  sent: number;
  onProgress(percent: number, message: string): void;
}
