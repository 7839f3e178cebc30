import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, type ChangePasswordRequest } from "@millrace/protocol";
import { checkPassword } from "./check-account-input.ts";
import type { IdentityContext } from "./identity-context.ts";
import { requireAccount } from "./require-account.ts";
import { addressOf } from "./signed-in.ts";

/** Sets a password for one who knows the present one, and ends every other session. */
export async function changePassword(
  context: IdentityContext,
  { currentPassword, newPassword }: ChangePasswordRequest,
  call: HandlerContext,
): Promise<Record<never, never>> {
  const { store, hasher, guard, events, feed } = context;
  const { caller, user, passwordHash } = await requireAccount(context, call);
  checkPassword(newPassword, user.email, "new_password");
  const attempt = await guard.beginAgain(user.email, addressOf(call));
  let hash: string;
  try {
    if (!(await hasher.verify(passwordHash, currentPassword))) {
      throw new MillraceError("failed_precondition", "the current password is wrong", {
        details: [{ field: "current_password", reason: "is wrong" }],
      });
    }
    if (currentPassword === newPassword) {
      throw new MillraceError("failed_precondition", "the new password is the current one", {
        details: [{ field: "new_password", reason: "must be another" }],
      });
    }
    hash = await hasher.hash(newPassword);
  } catch (error) {
    if (error instanceof MillraceError && error.code === "unavailable") await attempt.withdraw();
    throw error;
  }
  await attempt.succeeded();
  await store.users.setPassword(user.id, { hash, expired: false, keepSession: caller.sessionId });
  feed.poke();
  events.passwordChanged(user.id);
  return {};
}
