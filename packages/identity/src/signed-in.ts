import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, permissionsOfRoles, type CallerInfo, type Permission, type Role } from "@millrace/protocol";
import { callerOf } from "@millrace/rpc";

const anonymousSubject = "anonymous";

/** Address that a call came from; empty when no gateway says it. */
export function addressOf(call: HandlerContext): string {
  return callerOf(call)?.address ?? "";
}

/** @throws MillraceError `unauthenticated` for a call without an identity */
export function requireCaller(call: HandlerContext): CallerInfo {
  const caller = callerOf(call);
  if (caller === undefined || caller.subject === anonymousSubject) {
    throw new MillraceError("unauthenticated", "sign in first");
  }
  return caller;
}

/** The doors have asked already; what decides over other people is asked again where it is done. */
export function requirePermission(call: HandlerContext, permission: Permission): CallerInfo {
  const caller = requireCaller(call);
  if (!caller.permissions.includes(permission)) {
    throw new MillraceError("permission_denied", `this needs ${permission}`);
  }
  return caller;
}

/**
 * Nobody gives, or decides over, more than they have.
 * @throws MillraceError `permission_denied`
 */
export function refuseMoreThan(caller: CallerInfo, roles: readonly Role[]): void {
  const beyond = [...permissionsOfRoles(roles)].find((permission) => !caller.permissions.includes(permission));
  if (beyond !== undefined) {
    throw new MillraceError("permission_denied", `this concerns ${beyond}, which the caller does not have`);
  }
}
