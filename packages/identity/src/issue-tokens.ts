import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, TokenPairSchema } from "@millrace/protocol";
import { csrfTokenOf } from "@millrace/rpc";
import type { OpenSession } from "@millrace/store";
import type { IdentityContext } from "./identity-context.ts";
import type { SignedIn } from "./open-session.ts";
import { setSessionCookies } from "./session-cookie.ts";

/** Issuer and audience of access tokens; whoever checks them pins both. */
const tokenIssuer = "millrace";
const tokenAudience = "millrace";

/**
 * An access token for a session, with its refresh token, in the answer or in cookies.
 * @throws MillraceError `unauthenticated` when the user may not sign in any more
 */
export async function issueTokens(
  context: IdentityContext,
  call: HandlerContext,
  given: { readonly session: OpenSession; readonly refresh: string; readonly cookie: boolean },
): Promise<SignedIn> {
  const { config, store, keys } = context;
  const { session, refresh, cookie } = given;
  const grant = await store.users.readGrant(session.userId);
  if (grant === undefined || grant.user.disabled || grant.user.deletedAt !== undefined) {
    await store.sessions.end(session.userId, session.id);
    throw new MillraceError("unauthenticated", "sign in again");
  }
  const { user, readAtMs } = grant;
  const expiresAtMs = Math.min(readAtMs + config.accessMs, session.expiresAtMs);
  const access = await keys.sign({
    iss: tokenIssuer,
    aud: tokenAudience,
    sub: user.id,
    sid: session.id,
    email: user.email,
    // Until a password that somebody else knows is changed, its session is good for nothing else.
    roles: user.passwordExpired ? [] : user.roles,
    // When the roles were read, to the millisecond: a change of them after that voids this token.
    iat: readAtMs / 1000,
    exp: Math.floor(expiresAtMs / 1000),
  });
  if (!cookie) {
    const tokens = create(TokenPairSchema, {
      accessToken: access,
      accessExpiresAt: timestampFromMs(expiresAtMs),
      refreshToken: refresh,
      refreshExpiresAt: timestampFromMs(session.expiresAtMs),
    });
    return { user, tokens, csrfToken: "" };
  }
  const inSeconds = (atMs: number): number => Math.max(1, Math.floor((atMs - readAtMs) / 1000));
  const [accessSeconds, refreshSeconds] = [inSeconds(expiresAtMs), inSeconds(session.expiresAtMs)];
  setSessionCookies(call.responseHeader, { access, accessSeconds, refresh, refreshSeconds }, config.secureCookies);
  return { user, csrfToken: csrfTokenOf(access) };
}
