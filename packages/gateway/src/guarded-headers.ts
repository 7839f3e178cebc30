import { callerHeader, csrfHeader } from "@millrace/protocol";

/** Between two neighbours only (RFC 9110, section 7.6.1): nobody behind the door sets them. */
const hopByHop = [
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];
/** How a message is framed and told apart: the protocols' own business. */
const framing = ["content-length", "content-type", "content-encoding", "x-request-id"];
const framingPrefixes = [":", "grpc-", "connect-"];

/** Who calls, from where: a plugin must not speak in another's name. */
const identifying = [
  "authorization",
  "cookie",
  csrfHeader,
  "expect",
  "forwarded",
  "host",
  callerHeader,
  "origin",
  "referer",
  "x-real-ip",
];
const requestGuarded: ReadonlySet<string> = new Set([...hopByHop, ...framing, ...identifying]);
const requestPrefixes = [...framingPrefixes, "x-forwarded-", "sec-", "access-control-"];

/** What keeps a browser's user safe, and what holds for all of the origin that other answers come from. */
const protecting = [
  "alt-svc",
  "clear-site-data",
  "content-security-policy",
  "content-security-policy-report-only",
  "nel",
  "permissions-policy",
  "referrer-policy",
  "report-to",
  "reporting-endpoints",
  "service-worker-allowed",
  "set-cookie",
  "strict-transport-security",
  "www-authenticate",
  "x-content-type-options",
  "x-frame-options",
];
const responseGuarded: ReadonlySet<string> = new Set([...hopByHop, ...framing, ...protecting]);
const responsePrefixes = [...framingPrefixes, "access-control-", "cross-origin-", "trailer-"];

/** Credentials, which strangers' code does not get to see. */
const withheld: ReadonlySet<string> = new Set([
  "authorization",
  "cookie",
  csrfHeader,
  "proxy-authorization",
  "set-cookie",
]);

/** Whether a plugin may set or remove a header, by lower-case name, of a request that goes on. */
export function isRewritableInRequest(name: string): boolean {
  return !requestGuarded.has(name) && !requestPrefixes.some((prefix) => name.startsWith(prefix));
}

/** Whether a plugin may set or remove a header, by lower-case name, of an answer. */
export function isRewritableInResponse(name: string): boolean {
  return !responseGuarded.has(name) && !responsePrefixes.some((prefix) => name.startsWith(prefix));
}

/** Headers as a plugin sees them: one text each, without credentials. */
export function visibleHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  const visible: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(":") || withheld.has(name)) continue;
    visible[name] = typeof value === "string" ? value : value.join(", ");
  }
  return visible;
}
