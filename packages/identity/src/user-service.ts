import type { ServiceImpl } from "@connectrpc/connect";
import { MillraceError, type UserService } from "@millrace/protocol";
import { changeUser, changesOfUpdate } from "./change-user.ts";
import { createInvitation } from "./create-invitation.ts";
import { createUser } from "./create-user.ts";
import type { IdentityContext } from "./identity-context.ts";
import { refuseMoreThan, requirePermission } from "./signed-in.ts";

/** Keeps the users. */
export function userService(context: IdentityContext): ServiceImpl<typeof UserService> {
  const { store, feed, events } = context;
  return {
    listUsers(request, call) {
      requirePermission(call, "users:read");
      const { role, search, includeDeleted, resetAsked, orderBy, pageSize, pageToken } = request;
      return store.users.list({ role, search, includeDeleted, resetAsked }, orderBy, {
        size: pageSize,
        token: pageToken,
      });
    },
    async getUser({ id }, call) {
      requirePermission(call, "users:read");
      const stored = await store.users.get(id);
      if (stored === undefined) throw new MillraceError("not_found", `no user ${id}`);
      return { user: stored.user };
    },
    createUser: (request, call) => createUser(context, request, call),
    replaceUser({ id, email, displayName, roles, disabled }, call) {
      return changeUser(context, call, id, { email, displayName, roles, disabled });
    },
    updateUser: (request, call) => changeUser(context, call, request.id, changesOfUpdate(request)),
    async deleteUser({ id, purge }, call) {
      const caller = requirePermission(call, "users:manage");
      const purged = await store.users.delete(id, purge, (user) => refuseMoreThan(caller, user.roles));
      feed.poke();
      events.userDeleted(id, caller.subject, purged);
      return { purged };
    },
    createInvitation: (request, call) => createInvitation(context, request, call),
  };
}
