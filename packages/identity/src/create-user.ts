import { randomUUID } from "node:crypto";
import type { HandlerContext } from "@connectrpc/connect";
import type { CreateUserRequest, User } from "@millrace/protocol";
import { checkDisplayName, checkEmail, checkPassword, checkRoles } from "./check-account-input.ts";
import type { IdentityContext } from "./identity-context.ts";
import { newSecret } from "./secret.ts";
import { refuseMoreThan, requirePermission } from "./signed-in.ts";

/** Adds a user; without a password, one is made that has to be changed at the first login. */
export async function createUser(
  { store, hasher, events }: IdentityContext,
  request: CreateUserRequest,
  call: HandlerContext,
): Promise<{ readonly user: User; readonly password: string }> {
  const caller = requirePermission(call, "users:manage");
  const { email, displayName } = request;
  checkEmail(email);
  checkDisplayName(displayName);
  const roles = checkRoles(request.roles);
  refuseMoreThan(caller, roles);
  const made = request.password === "" ? newSecret() : "";
  if (made === "") checkPassword(request.password, email);
  const user = await store.users.insert({
    id: randomUUID(),
    email,
    displayName,
    roles,
    passwordHash: await hasher.hash(made || request.password),
    passwordExpired: made !== "",
  });
  events.userAdded(user.id, "administrator");
  return { user, password: made };
}
