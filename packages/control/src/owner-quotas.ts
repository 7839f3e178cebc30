import type { Bus } from "@millrace/bus";
import { MillraceError } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import type { ControlSettings } from "./config.ts";
import { LoadBounds, retryAfterMs } from "./load-bounds.ts";

export interface OwnerQuotasOptions {
  readonly bus: Bus;
  readonly store: Store;
  /** Name under which the projector keeps its places. */
  readonly cursor: string;
  /** Looked up anew each time. */
  readonly limits: Pick<ControlSettings, "quotaJobs" | "quotaBytes">;
  readonly onRefused: () => void;
}

/** Bounds what each user has queued. */
export function ownerQuotas({ bus, store, cursor, limits, onRefused }: OwnerQuotasOptions): LoadBounds {
  return new LoadBounds({
    bus,
    read: (owner) => store.readOwnerLoad(owner, cursor),
    isBound: (owner) => owner !== "",
    excess(_, load, bytes) {
      const { quotaJobs, quotaBytes } = limits;
      if (load.jobs >= quotaJobs) return refusal("queued_jobs", `${load.jobs} jobs`, `${quotaJobs}`);
      if (load.bytes + bytes <= quotaBytes) return undefined;
      return refusal("queued_bytes", `${load.bytes} bytes`, `${quotaBytes}, and this job has ${bytes}`);
    },
    onRefused,
  });
}

function refusal(field: string, figure: string, limit: string): MillraceError {
  return new MillraceError("resource_exhausted", `you have ${figure} queued; the limit is ${limit}`, {
    details: [{ field, reason: `${figure} of at most ${limit}` }],
    retryAfterMs,
  });
}
