import { timestampFromMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, type CreateInvitationRequest } from "@millrace/protocol";
import { checkEmail, checkRoles } from "./check-account-input.ts";
import type { IdentityContext } from "./identity-context.ts";
import { hashSecret, newSecret } from "./secret.ts";
import { refuseMoreThan, requirePermission } from "./signed-in.ts";

const hourMs = 3_600_000;
const defaultHours = 7 * 24;

/** A code that lets one person register, or set a new password. Shown once. */
export async function createInvitation(
  { store }: IdentityContext,
  request: CreateInvitationRequest,
  call: HandlerContext,
): Promise<{ readonly code: string; readonly expiresAt: Timestamp }> {
  const caller = requirePermission(call, "users:manage");
  const { email, passwordReset } = request;
  const roles = checkRoles(request.roles);
  refuseMoreThan(caller, roles);
  if (email !== "") checkEmail(email);
  const found = email === "" ? undefined : (await store.users.findByEmail(email))?.user;
  const known = found?.deletedAt === undefined ? found : undefined;
  if (passwordReset && known === undefined) throw new MillraceError("not_found", `no user has the email ${email}`);
  // Its code would be refused, long after it was handed on; deleted users keep their emails until they are purged.
  if (!passwordReset && found !== undefined) {
    throw new MillraceError(
      "already_exists",
      `somebody has the email ${email}: a code for a new password is another one`,
    );
  }
  const user = passwordReset ? known : undefined;
  // Whoever sets a password becomes that user.
  if (user !== undefined) refuseMoreThan(caller, user.roles);
  const code = newSecret();
  const expiresAtMs = Date.now() + (request.validHours || defaultHours) * hourMs;
  await store.codes.insert({
    hash: hashSecret(code),
    ...(user === undefined ? {} : { userId: user.id }),
    ...(email === "" ? {} : { email }),
    roles,
    expiresAtMs,
    createdBy: caller.subject,
  });
  return { code, expiresAt: timestampFromMs(expiresAtMs) };
}
