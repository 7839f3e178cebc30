import { randomUUID, timingSafeEqual } from "node:crypto";
import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, readCookie, type CompleteOidcLoginRequest, type User } from "@millrace/protocol";
import type { IdentityContext } from "./identity-context.ts";
import type { OidcAccount, OidcProvider } from "./oidc-provider.ts";
import { openSession, type SignedIn } from "./open-session.ts";
import { hashSecret } from "./secret.ts";
import { oidcCookie, setOidcCookie } from "./session-cookie.ts";

/** Ends a login that this browser has begun: the provider's code becomes a session. */
export async function completeOidcLogin(
  context: IdentityContext,
  { code, state, cookie }: CompleteOidcLoginRequest,
  call: HandlerContext,
): Promise<SignedIn> {
  const { config, store, oidc, events } = context;
  if (oidc === undefined) throw new MillraceError("failed_precondition", "no OIDC provider is configured");
  const login = await store.oidcLogins.take(hashSecret(state));
  const browser = readCookie(call.requestHeader.get("cookie") ?? undefined, oidcCookie, config.secureCookies) ?? "";
  // A browser session only for the browser that began it: nobody is signed in as somebody else by a link.
  const mayEnd = login !== undefined && (!cookie || timingSafeEqual(hashSecret(browser), login.browserHash));
  if (!mayEnd) throw refused();
  let account: OidcAccount;
  try {
    account = await oidc.redeem({ code, state, ...login });
  } catch (error) {
    events.oidcFailed(error);
    if (error instanceof MillraceError) throw error;
    throw refused(error);
  }
  const user = await userOf(context, oidc, account);
  if (user === undefined || user.disabled || user.deletedAt !== undefined) throw refused();
  setOidcCookie(call.responseHeader, "", 0, config.secureCookies);
  return openSession(context, call, user.id, cookie);
}

/** The user that the account was tied to, or is tied to by its verified email, or is made for it. */
async function userOf(
  { store, events }: IdentityContext,
  oidc: OidcProvider,
  { key, email, name }: OidcAccount,
): Promise<User | undefined> {
  const tied = await store.users.findByOidc(key);
  if (tied !== undefined) return tied.user;
  if (email === undefined) return undefined;
  const known = (await store.users.findByEmail(email))?.user;
  if (known !== undefined) return (await store.users.linkOidc(known.id, key)) ? known : undefined;
  const roles = oidc.config.newUserRoles;
  if (roles === undefined) return undefined;
  const user = await store.users.insert({ id: randomUUID(), email, displayName: name, roles, oidcSubject: key });
  events.userAdded(user.id, "oidc");
  return user;
}

function refused(cause?: unknown): MillraceError {
  return new MillraceError("unauthenticated", "the login with the provider did not succeed: begin again", { cause });
}
