import type { HandlerContext } from "@connectrpc/connect";
import { MillraceError, type BeginOidcLoginRequest } from "@millrace/protocol";
import { invalid } from "./check-account-input.ts";
import type { IdentityContext } from "./identity-context.ts";
import { hashSecret, newSecret } from "./secret.ts";
import { setOidcCookie } from "./session-cookie.ts";

/** Time to sign in at the provider. */
const validMs = 10 * 60_000;

/** Begins a login with the provider, tied to this browser by a cookie. */
export async function beginOidcLogin(
  { config, store, oidc }: IdentityContext,
  request: BeginOidcLoginRequest,
  call: HandlerContext,
): Promise<{ readonly authorizationUrl: string }> {
  if (oidc === undefined) throw new MillraceError("failed_precondition", "no OIDC provider is configured");
  const { redirectUris } = oidc.config;
  const redirectUri = request.redirectUri || redirectUris[0];
  if (redirectUri === undefined || !redirectUris.includes(redirectUri)) {
    throw invalid("redirect_uri", "must be one of those that are configured");
  }
  const [state, nonce, codeVerifier, browser] = [newSecret(), newSecret(), newSecret(), newSecret()];
  const authorizationUrl = await oidc.authorizationUrl({ state, nonce, codeVerifier, redirectUri });
  const login = { nonce, codeVerifier, redirectUri, browserHash: hashSecret(browser) };
  await store.oidcLogins.insert(hashSecret(state), login, validMs);
  setOidcCookie(call.responseHeader, browser, validMs / 1000, config.secureCookies);
  return { authorizationUrl };
}
