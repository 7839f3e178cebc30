import type { ServiceImpl } from "@connectrpc/connect";
import type { AuditRuntimeService } from "@millrace/protocol";
import { recordOf } from "./audit-entry.ts";
import type { ControlContext } from "./control-context.ts";

/** What gateways give the audit trail by; no door offers it. */
export function auditRuntimeService({ store, announcer }: ControlContext): ServiceImpl<typeof AuditRuntimeService> {
  return {
    async append({ entries }) {
      const nowMs = Date.now();
      const lastSeq = await store.audit.append(entries.map((entry) => recordOf(entry, nowMs)));
      announcer.wake();
      return { lastSeq: BigInt(lastSeq) };
    },
  };
}
