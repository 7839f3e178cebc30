import { secureCookiePrefix, sessionCookies } from "@millrace/protocol";

interface Cookie {
  readonly name: string;
  readonly value: string;
  /** Seconds; 0 removes it. */
  readonly maxAge: number;
  readonly sameSite: "Lax" | "Strict";
}

/** As a `set-cookie` line (RFC 6265bis): no script reads it, and over TLS it is tied to this host. */
function formatCookie({ name, value, maxAge, sameSite }: Cookie, secure: boolean): string {
  const full = secure ? secureCookiePrefix + name : name;
  return `${full}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=${sameSite}${secure ? "; Secure" : ""}`;
}

/** Puts the tokens of a session into the browser. */
export function setSessionCookies(
  headers: Headers,
  tokens: {
    readonly access: string;
    readonly accessSeconds: number;
    readonly refresh: string;
    readonly refreshSeconds: number;
  },
  secure: boolean,
): void {
  const { access, refresh } = sessionCookies;
  const { accessSeconds, refreshSeconds } = tokens;
  const cookies: Cookie[] = [
    { name: access, value: tokens.access, maxAge: accessSeconds, sameSite: "Lax" },
    { name: refresh, value: tokens.refresh, maxAge: refreshSeconds, sameSite: "Strict" },
  ];
  for (const cookie of cookies) headers.append("set-cookie", formatCookie(cookie, secure));
}

export function clearSessionCookies(headers: Headers, secure: boolean): void {
  setSessionCookies(headers, { access: "", accessSeconds: 0, refresh: "", refreshSeconds: 0 }, secure);
}

/** Ties an OIDC login to the browser that began it. */
export const oidcCookie = "mr_oidc";

export function setOidcCookie(headers: Headers, value: string, maxAge: number, secure: boolean): void {
  // Lax: the provider sends the browser back from another site.
  headers.append("set-cookie", formatCookie({ name: oidcCookie, value, maxAge, sameSite: "Lax" }, secure));
}
