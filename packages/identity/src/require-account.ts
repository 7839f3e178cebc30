import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, permissionsOfRoles, type CallerInfo, type User } from "@millrace/protocol";
import type { IdentityContext } from "./identity-context.ts";
import { requireCaller } from "./signed-in.ts";

/**
 * Who decides over an account as its owner: a session, or an API token that holds all that its owner may do. A narrower
 * token must not widen itself.
 * @throws MillraceError `unauthenticated`, `permission_denied`
 */
export async function requireAccount(
  context: IdentityContext,
  call: HandlerContext,
): Promise<{ readonly caller: CallerInfo; readonly user: User; readonly passwordHash: string | undefined }> {
  const caller = requireCaller(call);
  const stored = await context.store.users.get(caller.subject);
  if (stored === undefined || stored.user.disabled || stored.user.deletedAt !== undefined) {
    throw new MillraceError("unauthenticated", "sign in first");
  }
  if (caller.tokenId !== "") {
    const limited = caller.queues.length > 0 || caller.types.length > 0;
    const missing = [...permissionsOfRoles(stored.user.roles)].some((one) => !caller.permissions.includes(one));
    if (limited || missing) {
      throw new MillraceError("permission_denied", "an API token with fewer rights than its owner may not do this");
    }
  }
  return { caller, ...stored };
}
