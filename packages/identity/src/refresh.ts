import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, readCookie, sessionCookies, type RefreshRequest, type TokenPair } from "@millrace/protocol";
import type { IdentityContext } from "./identity-context.ts";
import { issueTokens } from "./issue-tokens.ts";
import { hashSecret, newSecret } from "./secret.ts";
import { clearSessionCookies } from "./session-cookie.ts";
import { addressOf } from "./signed-in.ts";

/** A new pair for a refresh token, from the request or the cookie. A token that was used before ends its session. */
export async function refresh(
  context: IdentityContext,
  { refreshToken }: RefreshRequest,
  call: HandlerContext,
): Promise<{ readonly tokens?: TokenPair; readonly csrfToken: string }> {
  const { config, store, events, feed } = context;
  const cookie = refreshToken === "";
  const used = cookie
    ? readCookie(call.requestHeader.get("cookie") ?? undefined, sessionCookies.refresh)
    : refreshToken;
  if (used === undefined || used === "") throw new MillraceError("unauthenticated", "sign in first");
  const next = newSecret();
  const rotation = await store.sessions.rotate(hashSecret(used), hashSecret(next), config.sessionIdleMs);
  if (rotation.outcome === "reused") {
    feed.poke();
    events.refreshReused(rotation.userId, rotation.sessionId, addressOf(call));
  }
  if (rotation.outcome !== "rotated") {
    if (cookie) clearSessionCookies(call.responseHeader, config.secureCookies);
    throw new MillraceError("unauthenticated", "the session has ended: sign in again");
  }
  const { tokens, csrfToken } = await issueTokens(context, call, { session: rotation.session, refresh: next, cookie });
  return { ...(tokens === undefined ? {} : { tokens }), csrfToken };
}
