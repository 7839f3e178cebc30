/** Where control counts. */
export interface ControlMetrics {
  /** A job was accepted here; jobs that are published to NATS directly are not seen. */
  submitted(job: { readonly queue: string; readonly type: string; readonly priority: string }): void;
  cancelled(): void;
  replayed(): void;
}

export const noControlMetrics: ControlMetrics = {
  submitted: () => undefined,
  cancelled: () => undefined,
  replayed: () => undefined,
};
