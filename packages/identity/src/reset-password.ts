import { MillraceError, type RequestPasswordResetRequest, type ResetPasswordRequest } from "@millrace/protocol";
import { checkPassword } from "./check-account-input.ts";
import type { IdentityContext } from "./identity-context.ts";
import { hashSecret } from "./secret.ts";

/** Notes for the administrators that somebody wants a new password; says nothing to whoever asks, not by its time either. */
export async function requestPasswordReset(
  { store, events, upkeep }: IdentityContext,
  { email }: RequestPasswordResetRequest,
): Promise<Record<never, never>> {
  const stored = await store.users.findByEmail(email);
  if (stored !== undefined && stored.user.deletedAt === undefined) {
    // The answer does not wait for it: for whom nobody knows nothing is written.
    upkeep.run(() => store.users.noteResetAsked(email));
    events.resetAsked(stored.user.id);
  }
  return {};
}

/** Sets a password by a code that an administrator has handed out, and ends all sessions. */
export async function resetPassword(
  { store, hasher, events, feed }: IdentityContext,
  { code, newPassword }: ResetPasswordRequest,
): Promise<Record<never, never>> {
  const hash = hashSecret(code);
  checkPassword(newPassword, "", "new_password");
  // Before the work of hashing, which is for those who may.
  if (!(await store.codes.holdsReset(hash))) throw refusedCode();
  const passwordHash = await hasher.hash(newPassword);
  const userId = (await store.codes.takeReset(hash))?.userId;
  if (userId === undefined || !(await store.users.setPassword(userId, { hash: passwordHash, expired: false }))) {
    throw refusedCode();
  }
  feed.poke();
  events.passwordChanged(userId);
  return {};
}

function refusedCode(): MillraceError {
  return new MillraceError("failed_precondition", "the code is wrong, was used or has expired");
}
