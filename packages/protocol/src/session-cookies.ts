/** Cookies of browser sessions. Over TLS each name has `__Host-` in front, which ties it to this host and to https. */
export const sessionCookies = {
  /** The access token; HttpOnly, SameSite=Lax, Path=/. */
  access: "mr_session",
  /** The refresh token; HttpOnly, SameSite=Strict. */
  refresh: "mr_refresh",
} as const;

export const secureCookiePrefix = "__Host-";

/** Carries the CSRF token with every call that is authenticated by cookie and is not a GET or HEAD. */
export const csrfHeader = "x-csrf-token";

/**
 * A cookie's value from the header `cookie`, with its secure name first.
 * @param secureOnly only that: a neighbouring host, or whoever sits on a line without TLS, can set a cookie of any other name
 */
export function readCookie(header: string | undefined, name: string, secureOnly = false): string | undefined {
  if (header === undefined) return undefined;
  let plain: string | undefined;
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    const key = pair.slice(0, equals).trim();
    if (key === secureCookiePrefix + name) return pair.slice(equals + 1).trim();
    if (!secureOnly && key === name) plain ??= pair.slice(equals + 1).trim();
  }
  return plain;
}
