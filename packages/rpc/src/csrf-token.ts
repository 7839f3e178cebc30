import { createHash } from "node:crypto";

/**
 * The CSRF token that belongs to an access token. A script of another site cannot read the cookie, so it cannot know this
 * either; whoever checks it derives it again and keeps nothing.
 */
export function csrfTokenOf(accessToken: string): string {
  return createHash("sha256").update(`millrace-csrf:${accessToken}`).digest("base64url");
}
