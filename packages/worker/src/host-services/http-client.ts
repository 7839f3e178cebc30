import { lookup, Resolver } from "node:dns/promises";
import * as http from "node:http";
import * as https from "node:https";
import { isIP } from "node:net";
import { badRequest, denied, exceeded, HostFailure, unavailable } from "./host-failure.ts";
import { admitUrl, hostOf, portOf } from "./http-targets.ts";
import { refuseAddress } from "./refuse-address.ts";

export const httpLimits = {
  requestBytes: 8 << 20,
  responseBytes: 8 << 20,
  requestHeaders: 64,
  requestHeaderBytes: 16 << 10,
  responseHeaderBytes: 32 << 10,
  redirects: 5,
  /** One request with its redirects. */
  totalMs: 30_000,
  /** Between two signs of life of the server. */
  silentMs: 10_000,
  /** Slower than this after the first seconds, an answer only ties up the worker. */
  leastBytesPerSecond: 64,
  rateGraceMs: 5_000,
  urlChars: 8192,
  /** Of all answers that are being received for all plugins, and for one: it leaves the others room. */
  bufferedBytes: 256 << 20,
  bufferedBytesOfOne: 128 << 20,
  /** One question to a name server, and how often it is asked. */
  nameMs: 2_000,
  nameTries: 3,
} as const;

const methods: ReadonlySet<string> = new Set("GET HEAD POST PUT PATCH DELETE OPTIONS".split(" "));
/** The connection's own business (RFC 9110, 7.6.1), and what would let a plugin smuggle. */
const ownHeaders: ReadonlySet<string> = new Set(
  "host connection content-length transfer-encoding upgrade te trailer keep-alive expect proxy-connection accept-encoding".split(
    " ",
  ),
);
const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;
const credentialHeaders = ["authorization", "cookie", "proxy-authorization"];

export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Uint8Array;
}

export interface HttpBounds {
  readonly plugin: string;
  /** Patterns of what the plugin may reach. */
  readonly granted: readonly string[];
  readonly signal: AbortSignal;
}

/** Bytes of answers that are being received. */
class Buffered {
  readonly #ofPlugin = new Map<string, number>();
  #bytes = 0;

  /** @returns whether there is too much */
  add(plugin: string, bytes: number): boolean {
    const ofPlugin = (this.#ofPlugin.get(plugin) ?? 0) + bytes;
    if (ofPlugin === 0) this.#ofPlugin.delete(plugin);
    else this.#ofPlugin.set(plugin, ofPlugin);
    this.#bytes += bytes;
    return this.#bytes > httpLimits.bufferedBytes || ofPlugin > httpLimits.bufferedBytesOfOne;
  }
}

/** Told of bytes that have come, or are not held any more. @returns whether there is too much */
type Receive = (bytes: number) => boolean;

/** One step towards an answer: where to, and what is sent there. */
interface Hop {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Makes requests for plugins: only to what they were granted, never to addresses that are not public, and bounded. */
export class HttpClient {
  readonly #allowedPrivate: ReadonlySet<string>;
  readonly #buffered = new Buffered();
  readonly #nameServers: readonly string[];

  /**
   * @param allowedPrivate `host:port` that may resolve to private addresses
   * @param nameServers `address` or `address:port`; none stands for the system's
   */
  constructor(allowedPrivate: readonly string[], nameServers: readonly string[] = []) {
    this.#nameServers = nameServers;
    this.#allowedPrivate = new Set(allowedPrivate.map((place) => place.toLowerCase()));
  }

  /** @throws HostFailure */
  async request(request: HttpRequest, bounds: HttpBounds): Promise<HttpResponse> {
    const deadline = AbortSignal.timeout(httpLimits.totalMs);
    const signal = AbortSignal.any([bounds.signal, deadline]);
    try {
      const receive = (bytes: number): boolean => this.#buffered.add(bounds.plugin, bytes);
      return await this.#follow(firstHop(request), bounds.granted, signal, receive);
    } catch (error) {
      if (error instanceof HostFailure) throw error;
      if (deadline.aborted) throw tooSlow(httpLimits.totalMs);
      throw unavailable(`http: ${error instanceof Error ? error.message : String(error)}`, error);
    }
  }

  async #follow(first: Hop, granted: readonly string[], signal: AbortSignal, receive: Receive): Promise<HttpResponse> {
    let hop = first;
    for (let redirects = 0; ; redirects++) {
      const place = `${hostOf(hop.url)}:${portOf(hop.url)}`;
      const isPrivateAllowed = this.#allowedPrivate.has(place);
      admitUrl(hop.url, granted, isPrivateAllowed);
      const address = await this.#resolve(hostOf(hop.url), isPrivateAllowed, signal);
      const response = await orAborted(send(hop, address, signal, receive), signal);
      const next = nextHop(hop, response);
      if (next === undefined) return response;
      if (redirects === httpLimits.redirects) {
        const breach = { resource: "http", figure: redirects + 1, limit: httpLimits.redirects, unit: "calls" } as const;
        throw exceeded(breach, { fatal: true });
      }
      hop = next;
    }
  }

  /** The one address that is connected to. All that the name has must be public, so that no answer hides another. */
  async #resolve(host: string, isPrivateAllowed: boolean, signal: AbortSignal): Promise<string> {
    const addresses = isIP(host) > 0 ? [host] : await orAborted(this.#lookUp(host, isPrivateAllowed, signal), signal);
    for (const address of isPrivateAllowed ? [] : addresses) {
      const what = refuseAddress(address);
      if (what !== undefined) throw denied(`http: ${host} is at ${address}, which is ${what}`);
    }
    const [first] = addresses;
    if (first === undefined) throw unavailable(`http: ${host} has no address`);
    return first;
  }

  /**
   * All addresses of a name, IPv4 first. Names that plugins choose are asked of the name servers directly: the system's look-up
   * holds one of two threads until it knows, so a few names whose servers are silent would keep everybody else from theirs, the
   * way back to the broker included. Places that the operator lists may be known to the system only.
   */
  async #lookUp(host: string, isListed: boolean, signal: AbortSignal): Promise<string[]> {
    if (isListed) return (await lookup(host, { all: true, order: "ipv4first" })).map(({ address }) => address);
    // One for each name: it knows the system's servers as they are at its start.
    const names = new Resolver({ timeout: httpLimits.nameMs, tries: httpLimits.nameTries });
    if (this.#nameServers.length > 0) names.setServers(this.#nameServers);
    const asked = Promise.allSettled([names.resolve4(host), names.resolve6(host)]);
    // A server that says nothing is asked for a quarter of a minute, over a socket: calls that have ended are not to leave any.
    const cancel = (): void => names.cancel();
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel, { once: true });
    const families = await asked;
    signal.removeEventListener("abort", cancel);
    const found = families.flatMap((family) => (family.status === "fulfilled" ? family.value : []));
    const failed = families.find((family) => family.status === "rejected");
    if (found.length === 0 && failed !== undefined) throw failed.reason;
    return found;
  }
}

function firstHop({ method, url, headers, body }: HttpRequest): Hop {
  if (!methods.has(method))
    throw badRequest(`http: ${JSON.stringify(method)} is not one of ${[...methods].join(", ")}`);
  if (url.length > httpLimits.urlChars || !URL.canParse(url)) throw badRequest("http: not a URL");
  if (body.length > httpLimits.requestBytes) {
    const breach = { resource: "http", figure: body.length, limit: httpLimits.requestBytes, unit: "bytes" } as const;
    throw exceeded(breach, { fatal: true });
  }
  let bytes = 0;
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (!headerName.test(name) || !headerValue.test(value)) throw badRequest(`http: header ${JSON.stringify(name)}`);
    bytes += name.length + value.length;
    if (!ownHeaders.has(name.toLowerCase())) kept[name.toLowerCase()] = value;
  }
  if (bytes > httpLimits.requestHeaderBytes || Object.keys(kept).length > httpLimits.requestHeaders) {
    throw badRequest(`http: more than ${httpLimits.requestHeaders} headers or ${httpLimits.requestHeaderBytes} bytes`);
  }
  return { url: new URL(url), method, headers: kept, body };
}

function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  return Promise.race([work, promise]).finally(() => signal.removeEventListener("abort", onAbort));
}

/**
 * Connects to the address that was checked, under the name that was asked for: a second look-up could be answered otherwise.
 */
function send(hop: Hop, address: string, signal: AbortSignal, receive: Receive): Promise<HttpResponse> {
  const { url, method, body } = hop;
  const isSecure = url.protocol === "https:";
  const host = hostOf(url);
  const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
  const request = (isSecure ? https : http).request({
    host: address,
    port: portOf(url),
    path: `${url.pathname}${url.search}`,
    method,
    headers: {
      ...hop.headers,
      host: url.host,
      "accept-encoding": "identity",
      ...(body.length > 0 ? { "content-length": String(body.length) } : {}),
    },
    // A connection of its own: none is shared between plugins.
    agent: false,
    maxHeaderSize: httpLimits.responseHeaderBytes,
    timeout: httpLimits.silentMs,
    signal,
    // Names in certificates are compared with this one; an address has none to offer (RFC 6066, 3).
    ...(isSecure && isIP(host) === 0 ? { servername: host } : {}),
  });
  const fail = (error: unknown): void => {
    reject(error);
    request.destroy();
  };
  request.on("timeout", () => fail(tooSlow(httpLimits.silentMs)));
  request.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "HPE_HEADER_OVERFLOW") return reject(error);
    const limit = httpLimits.responseHeaderBytes;
    reject(exceeded({ resource: "http", figure: limit + 1, limit, unit: "bytes" }, { fatal: true }));
  });
  request.on("upgrade", (_response, socket) => {
    socket.destroy();
    fail(unavailable("http: the server wants another protocol"));
  });
  request.on("response", (response) => collect(response, receive, fail).then(resolve, fail));
  request.end(body.length > 0 ? body : undefined);
  return promise;
}

function collect(
  response: http.IncomingMessage,
  receive: Receive,
  fail: (error: unknown) => void,
): Promise<HttpResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
  const chunks: Uint8Array[] = [];
  const startMs = performance.now();
  let bytes = 0;
  response.on("data", (chunk: Uint8Array) => {
    bytes += chunk.length;
    if (receive(chunk.length)) fail(unavailable("http: this worker receives too much at this moment"));
    const limit = httpLimits.responseBytes;
    if (bytes > limit) fail(exceeded({ resource: "http", figure: bytes, limit, unit: "bytes" }, { fatal: true }));
    const tookMs = performance.now() - startMs;
    if (tookMs > httpLimits.rateGraceMs && bytes < (tookMs / 1000) * httpLimits.leastBytesPerSecond) {
      const breach = {
        resource: "http",
        figure: Math.round(tookMs),
        limit: httpLimits.rateGraceMs,
        unit: "ms",
      } as const;
      const message = `http: ${bytes} bytes in ${breach.figure} ms; at least ${httpLimits.leastBytesPerSecond} a second`;
      fail(new HostFailure("TIMED_OUT", message, { breach, fatal: true }));
    }
    chunks.push(chunk);
  });
  response.on("close", () => {
    receive(-bytes);
  });
  response.on("error", reject);
  response.on("end", () => {
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(response.headers)) {
      if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
    }
    const body = new Uint8Array(bytes);
    let at = 0;
    for (const chunk of chunks) {
      body.set(chunk, at);
      at += chunk.length;
    }
    resolve({ status: response.statusCode ?? 0, headers, body });
  });
  return promise;
}

/** Where a redirect leads (RFC 9110, 15.4); undefined when the answer is none. */
function nextHop(hop: Hop, { status, headers }: HttpResponse): Hop | undefined {
  const location = headers["location"];
  if (location === undefined || ![301, 302, 303, 307, 308].includes(status)) return undefined;
  if (!URL.canParse(location, hop.url.href)) throw unavailable("http: a redirect to what is no URL");
  const url = new URL(location, hop.url);
  // Credentials were meant for the host that they were sent to.
  const sent = Object.entries(hop.headers).filter(
    ([name]) => url.origin === hop.url.origin || !credentialHeaders.includes(name),
  );
  const keepsMethod = status >= 307 || hop.method === "GET" || hop.method === "HEAD";
  if (keepsMethod) return { ...hop, url, headers: Object.fromEntries(sent) };
  const kept = sent.filter(([name]) => !name.startsWith("content-"));
  return { url, method: "GET", headers: Object.fromEntries(kept), body: new Uint8Array(0) };
}

function tooSlow(limitMs: number): HostFailure {
  const breach = { resource: "http", figure: limitMs, limit: limitMs, unit: "ms" } as const;
  return new HostFailure("TIMED_OUT", `http: no answer within ${limitMs} ms`, { breach, fatal: true });
}
