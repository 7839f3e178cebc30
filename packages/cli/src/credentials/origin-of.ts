/** Scheme, host and port of a server's address; all names of this machine are one. The text itself when it is no URL. */
export function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin.replace(/\/\/(localhost|\[::1\])(?=:|$)/, "//127.0.0.1") : url;
}
