import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, type LogoutRequest } from "@millrace/protocol";
import type { IdentityContext } from "./identity-context.ts";
import { requireAccount } from "./require-account.ts";
import { clearSessionCookies } from "./session-cookie.ts";

/** Ends the session that asks, or all of its user. */
export async function logout(
  context: IdentityContext,
  { everywhere }: LogoutRequest,
  call: HandlerContext,
): Promise<Record<never, never>> {
  const { config, store, feed } = context;
  const { caller, user } = await requireAccount(context, call);
  if (everywhere) await store.sessions.endAll(user.id);
  else if (caller.sessionId !== "") await store.sessions.end(user.id, caller.sessionId);
  else throw new MillraceError("failed_precondition", "an API token is revoked, not signed out");
  feed.poke();
  clearSessionCookies(call.responseHeader, config.secureCookies);
  return {};
}
