import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, type LoginRequest } from "@millrace/protocol";
import type { IdentityContext } from "./identity-context.ts";
import { openSession, type SignedIn } from "./open-session.ts";
import { addressOf } from "./signed-in.ts";

/** By email and password. Whatever is wrong, the answer and the work are the same. */
export async function login(
  context: IdentityContext,
  { email, password, cookie }: LoginRequest,
  call: HandlerContext,
): Promise<SignedIn> {
  const { store, hasher, guard, events } = context;
  const address = addressOf(call);
  const attempt = await guard.begin(email, address, await store.sessions.addressesOf(email));
  const stored = await store.users.findByEmail(email);
  const hash = stored?.passwordHash;
  let matches: boolean;
  try {
    matches = await hasher.verify(hash, password);
  } catch (error) {
    await attempt.withdraw();
    throw error;
  }
  if (!matches || stored === undefined || stored.user.disabled || stored.user.deletedAt !== undefined) {
    events.loginFailed(stored?.user.id, address);
    throw new MillraceError("unauthenticated", "email or password is wrong");
  }
  await attempt.succeeded();
  const { id } = stored.user;
  if (hash !== undefined && hasher.isWeak(hash)) await store.users.rehash(id, hash, await hasher.hash(password));
  return openSession(context, call, id, cookie);
}
