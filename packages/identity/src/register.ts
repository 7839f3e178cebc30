import { randomUUID } from "node:crypto";
import type { HandlerContext } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { MillraceError, UserSchema, type RegisterRequest, type Role, type User } from "@millrace/protocol";
import { checkDisplayName, checkEmail, checkPassword } from "./check-account-input.ts";
import type { IdentityContext } from "./identity-context.ts";
import { hashSecret } from "./secret.ts";
import { addressOf } from "./signed-in.ts";

/**
 * Adds the person that asks. Whether an email is known does not show: where registration is open a known one is answered
 * like an unknown one, and an invitation tells it only to whoever was invited, once.
 */
export async function register(
  context: IdentityContext,
  request: RegisterRequest,
  call: HandlerContext,
): Promise<{ readonly user: User }> {
  const { config, hasher, guard, events } = context;
  const { email, password, displayName, invitation } = request;
  const invited = invitation === "" ? undefined : hashSecret(invitation);
  const registration = config.registration();
  if (registration === "off") {
    throw new MillraceError("failed_precondition", "registration is switched off: ask an administrator");
  }
  if (registration === "invitation" && invited === undefined) {
    throw new MillraceError("failed_precondition", "registration needs an invitation");
  }
  checkEmail(email);
  checkDisplayName(displayName);
  checkPassword(password, email);
  // Before the work of hashing, which is for those who may.
  if (invited === undefined) await guard.beginRegistration(addressOf(call));
  else if (!(await context.store.codes.holdsInvitation(invited, email))) throw refusedInvitation();
  const passwordHash = await hasher.hash(password);
  const { roles, namesEmail: emailVouched } =
    invited === undefined
      ? { roles: config.openRoles, namesEmail: false }
      : await takeInvitation(context, invited, email);
  const user = { id: randomUUID(), email, displayName, roles, passwordHash, emailVouched };
  try {
    const added = await context.store.users.insert(user);
    events.userAdded(added.id, "registration");
    return { user: added };
  } catch (error) {
    if (!(error instanceof MillraceError) || error.code !== "already_exists") throw error;
    if (invited !== undefined) throw refusedInvitation();
    const now = timestampNow();
    const { id } = user;
    return { user: create(UserSchema, { id, email, displayName, roles: [...roles], createdAt: now, updatedAt: now }) };
  }
}

async function takeInvitation(
  context: IdentityContext,
  hash: Uint8Array,
  email: string,
): Promise<{ readonly roles: readonly Role[]; readonly namesEmail: boolean }> {
  const taken = await context.store.codes.takeInvitation(hash, email);
  if (taken === undefined) throw refusedInvitation();
  return taken;
}

function refusedInvitation(): MillraceError {
  return new MillraceError("failed_precondition", "the invitation cannot be used with this email, or not any more");
}
