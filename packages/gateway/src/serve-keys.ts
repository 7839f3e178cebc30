import { refuseExchange, toConnectError, type Exchange } from "@millrace/rpc";
import type { KeyRing } from "./key-ring.ts";

const path = "/.well-known/jwks.json";
/** Short against the two minutes for which a key is published before it signs. */
const cacheControl = "public, max-age=60";

/** Answers with the public keys of access tokens; false for any other path. */
export function serveKeys(keys: KeyRing): (exchange: Exchange) => boolean {
  return (exchange) => {
    if (exchange.path !== path || (exchange.verb !== "GET" && exchange.verb !== "HEAD")) return false;
    keys.show().then(
      (jwks) =>
        exchange.reply(200, { "content-type": "application/jwk-set+json", "cache-control": cacheControl }, jwks),
      (reason: unknown) => refuseExchange(exchange, { error: toConnectError(reason) }, crypto.randomUUID(), false),
    );
    return true;
  };
}
