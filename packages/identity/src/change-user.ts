import type { HandlerContext } from "@connectrpc/connect";
import type { UpdateUserRequest, User } from "@millrace/protocol";
import type { UserChanges } from "@millrace/store";
import { checkDisplayName, checkEmail, checkRoles, invalid } from "./check-account-input.ts";
import type { IdentityContext } from "./identity-context.ts";
import { refuseMoreThan, requirePermission } from "./signed-in.ts";

/** Changes a user who may do no more than the caller, into one who may do no more. */
export async function changeUser(
  { store, feed, events }: IdentityContext,
  call: HandlerContext,
  id: string,
  changes: UserChanges,
): Promise<{ readonly user: User }> {
  const caller = requirePermission(call, "users:manage");
  if (changes.email !== undefined) checkEmail(changes.email);
  if (changes.displayName !== undefined) checkDisplayName(changes.displayName);
  const roles = changes.roles === undefined ? undefined : checkRoles(changes.roles);
  if (roles !== undefined) refuseMoreThan(caller, roles);
  const user = await store.users.change(id, roles === undefined ? changes : { ...changes, roles }, (before) =>
    refuseMoreThan(caller, before.roles),
  );
  feed.poke();
  events.userChanged(id, caller.subject);
  return { user };
}

const fields = ["email", "display_name", "roles", "disabled"] as const;

/** What the mask names; without a mask, what is set (https://google.aip.dev/134). */
export function changesOfUpdate(request: UpdateUserRequest): UserChanges {
  const { email, displayName, roles, disabled, updateMask } = request;
  const paths = updateMask?.paths.map((path) => path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)) ?? [];
  const unknown = paths.find((path) => !(fields as readonly string[]).includes(path));
  if (unknown !== undefined) throw invalid("update_mask", `names ${unknown}: it may name ${fields.join(", ")}`);
  const named = (field: (typeof fields)[number], isSet: boolean): boolean =>
    paths.length === 0 ? isSet : paths.includes(field);
  return {
    ...(named("email", email !== "") ? { email } : {}),
    ...(named("display_name", displayName !== "") ? { displayName } : {}),
    ...(named("roles", roles.length > 0) ? { roles } : {}),
    ...(named("disabled", disabled) ? { disabled } : {}),
  };
}
