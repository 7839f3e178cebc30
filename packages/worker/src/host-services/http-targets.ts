import { denied } from "./host-failure.ts";

interface Pattern {
  readonly protocol: string;
  /** Lower case; with `below`, any name that ends in it. */
  readonly host: string;
  readonly below: boolean;
  readonly port: number;
}

const form = /^(?:(https?):\/\/)?(\*\.)?(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(\d{1,5}))?$/i;

/** Names that mean this machine or this network, whatever they resolve to. */
const localNames = /(^|\.)(localhost|internal|local|home\.arpa)$/;

/**
 * Whether a URL is among those that a plugin was granted: `api.example.com` (https, 443), `api.example.com:8443`,
 * `http://host:8080`, `*.example.com` (any host below it).
 */
export function isGrantedUrl(url: URL, granted: readonly string[]): boolean {
  const host = hostOf(url);
  return granted.some((text) => {
    const pattern = parsePattern(text);
    if (pattern === undefined || pattern.protocol !== url.protocol || pattern.port !== portOf(url)) return false;
    return pattern.below ? host.endsWith(`.${pattern.host}`) : host === pattern.host;
  });
}

/** @throws HostFailure HOST_DENIED when the URL is not granted, or is of a kind that nobody is granted */
export function admitUrl(url: URL, granted: readonly string[], isPrivateAllowed: boolean): void {
  if (url.protocol !== "https:" && url.protocol !== "http:") throw denied(`http: ${url.protocol} is not http or https`);
  if (url.username !== "" || url.password !== "") throw denied("http: a URL may not hold credentials; use a header");
  if (!isGrantedUrl(url, granted)) {
    throw denied(
      `http: ${url.origin} is not granted; declare "${suggestion(url)}" under capabilities.http, and grant http`,
    );
  }
  if (!isPrivateAllowed && localNames.test(hostOf(url))) throw denied(`http: ${url.hostname} is a local name`);
}

/** Without the brackets of IPv6 and the last dot of an absolute name. */
export function hostOf(url: URL): string {
  return url.hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, "")
    .replace(/\.+$/, "");
}

export function portOf(url: URL): number {
  return url.port === "" ? defaultPort(url.protocol) : Number(url.port);
}

function parsePattern(text: string): Pattern | undefined {
  const match = form.exec(text);
  if (match === null) return undefined;
  const protocol = `${(match[1] ?? "https").toLowerCase()}:`;
  const host = (match[3] ?? "")
    .toLowerCase()
    .replace(/^\[|\]$/g, "")
    .replace(/\.+$/, "");
  return { protocol, host, below: match[2] !== undefined, port: Number(match[4] ?? defaultPort(protocol)) };
}

function defaultPort(protocol: string): number {
  return protocol === "http:" ? 80 : 443;
}

function suggestion(url: URL): string {
  return url.protocol === "https:" ? url.host : url.origin;
}
