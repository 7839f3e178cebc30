import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, readCookie, sessionCookies, type RefreshRequest, type TokenPair } from "@millrace/protocol";
import type { IdentityContext } from "./identity-context.ts";
import { issueTokens } from "./issue-tokens.ts";
import { hashSecret, newSecret } from "./secret.ts";
import { clearSessionCookies } from "./session-cookie.ts";
import { addressOf } from "./signed-in.ts";

/**
 * The tabs of a browser share its cookies, and several may come with the same one: those after the first are sent away, and find
 * the next one where they found this. A thief who comes then gets as little, and is found out by the next use.
 */
const sharedCookieMs = 10_000;

/** A session that was refreshed too often may be so again after, or some time later. */
const busySessionMs = 60_000;

/** A new pair for a refresh token, from the request or the cookie. A token that was used before ends its session. */
export async function refresh(
  context: IdentityContext,
  { refreshToken }: RefreshRequest,
  call: HandlerContext,
): Promise<{ readonly tokens?: TokenPair; readonly csrfToken: string }> {
  const { config, store, events, feed } = context;
  const cookie = refreshToken === "";
  const used = cookie
    ? readCookie(call.requestHeader.get("cookie") ?? undefined, sessionCookies.refresh, config.secureCookies)
    : refreshToken;
  if (used === undefined || used === "") throw new MillraceError("unauthenticated", "sign in first");
  const next = newSecret();
  const sharedMs = cookie ? sharedCookieMs : 0;
  const rotation = await store.sessions.rotate(hashSecret(used), hashSecret(next), config.sessionIdleMs, sharedMs);
  // The cookies of the one that was first must stay.
  if (rotation.outcome === "raced") throw new MillraceError("aborted", "the session was refreshed a moment ago: go on");
  if (rotation.outcome === "too many") {
    throw new MillraceError(
      "resource_exhausted",
      "the session is refreshed too often: use its access token until it ends",
      {
        retryAfterMs: busySessionMs,
      },
    );
  }
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
