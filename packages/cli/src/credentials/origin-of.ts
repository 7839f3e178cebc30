/**
 * Scheme, host and port of a server's address; all names of this machine are one, and so is what a server that listens on all
 * of its addresses calls itself. The text itself when it is no URL.
 */
export function originOf(url: string): string {
  return URL.canParse(url)
    ? new URL(url).origin.replace(/\/\/(localhost|\[::1?\]|0\.0\.0\.0)(?=:|$)/, "//127.0.0.1")
    : url;
}
