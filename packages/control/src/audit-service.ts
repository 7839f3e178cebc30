import type { ServiceImpl } from "@connectrpc/connect";
import type { AuditService } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";
import { listAuditEntries } from "./list-audit-entries.ts";
import { verifyAudit } from "./verify-audit.ts";

/** The methods of AuditService, one file each. */
export function auditService(context: ControlContext): ServiceImpl<typeof AuditService> {
  return {
    listAuditEntries: (request) => listAuditEntries(context, request),
    verifyAudit: (request) => verifyAudit(context, request),
  };
}
