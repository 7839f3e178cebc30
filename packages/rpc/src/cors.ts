import { cors as connectCors } from "@connectrpc/connect";
import type { Exchange, ReplyHeaders } from "./exchange.ts";

export interface CorsOptions {
  /** Origins that browsers may call from. `loopback` stands for http(s)://localhost, 127.0.0.1 and [::1] on any port, `self` for the host that was called, `*` for all. Looked up at each call, so they may change. */
  readonly allowOrigins: readonly string[];
}

/** Whoever may open a page from this machine may call it; other sites may not drive it through a visitor's browser. */
export const defaultCors: CorsOptions = { allowOrigins: ["loopback"] };

const loopbackOrigin = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;
const maxAgeSeconds = 7200;
const allowHeaders = [
  ...connectCors.allowedHeaders,
  "Authorization",
  "Last-Event-ID",
  "X-Request-Id",
  "X-Request-Timeout-Ms",
  "X-Csrf-Token",
  "traceparent",
].join(", ");
const exposeHeaders = [
  ...connectCors.exposedHeaders,
  "X-Request-Id",
  "Retry-After",
  "RateLimit",
  "RateLimit-Policy",
].join(", ");

export interface Cors {
  /** Headers for an answer to a request from `origin` to `host`; undefined refuses. */
  headersFor(origin: string, host: string | undefined): ReplyHeaders | undefined;
  /** Answers a preflight request. */
  preflight(exchange: Exchange): void;
}

export function createCors(options: CorsOptions): Cors {
  function headersFor(origin: string, host: string | undefined): ReplyHeaders | undefined {
    const { allowOrigins } = options;
    // A browser asks its own origin without leave, but names it with whatever changes something.
    if (
      allowOrigins.includes("self") &&
      host !== undefined &&
      (origin === `https://${host}` || origin === `http://${host}`)
    )
      return {};
    if (allowOrigins.includes("*"))
      return { "access-control-allow-origin": "*", "access-control-expose-headers": exposeHeaders };
    const named = allowOrigins.includes(origin);
    if (!named && !(allowOrigins.includes("loopback") && loopbackOrigin.test(origin))) return undefined;
    return { "access-control-allow-origin": origin, "access-control-expose-headers": exposeHeaders, vary: "Origin" };
  }

  return {
    headersFor,
    preflight(exchange) {
      exchange.reply(
        204,
        {
          "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
          "access-control-allow-headers": allowHeaders,
          "access-control-max-age": String(maxAgeSeconds),
        },
        "",
      );
    },
  };
}
