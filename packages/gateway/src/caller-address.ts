import { isIP } from "node:net";
import type { CallContext } from "@millrace/rpc";

const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
/** Some proxies write the port, too: by that each connection of a caller would have limits of its own. */
const withPort = /^(\d+\.\d+\.\d+\.\d+):\d+$|^\[([0-9a-f.:]+)\](?::\d+)?$/i;

/**
 * Where calls come from. Behind proxies the peer is a proxy, and `x-forwarded-for` says more; what stands in it left of our
 * own proxies was written by whoever called.
 * @param proxyHops proxies of ours before the gateway; 0: the peer is the caller
 */
export function createCallerAddress(proxyHops: number): (call: CallContext) => string {
  return (call) => {
    const peer = call.address;
    if (proxyHops === 0) return plainAddress(peer);
    const hops = (call.header("x-forwarded-for") ?? "").split(",").map((one) => one.trim());
    const hop = hops.at(-proxyHops) ?? "";
    const [, v4, v6] = withPort.exec(hop) ?? [];
    const caller = v4 ?? v6 ?? hop;
    return plainAddress(isIP(caller) === 0 ? peer : caller);
  };
}

/** An IPv4 address in IPv6's clothes is an IPv4 address. */
export function plainAddress(address: string): string {
  return address.includes(":") ? (mapped.exec(address)?.[1] ?? address) : address;
}

/** What an address is limited by: a whole /64 of IPv6, which is what one subscriber has at least. */
export function limitKey(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail = ""] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === "" ? [] : tail.split(":");
  while (groups.length + after.length < 8) groups.push("0");
  return `${[...groups, ...after].slice(0, 4).join(":")}::/64`;
}
