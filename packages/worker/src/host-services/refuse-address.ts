import { isIPv4, isIPv6 } from "node:net";

type Range = readonly [address: number, prefix: number, what: string];

/** What is not on the public internet (IANA's special-purpose registry, RFC 6890), and clouds' metadata. */
const ranges4: readonly Range[] = (
  [
    ["0.0.0.0", 8, "this network"],
    ["10.0.0.0", 8, "private"],
    ["100.64.0.0", 10, "carrier-grade NAT"],
    ["127.0.0.0", 8, "loopback"],
    // 169.254.169.254 is where most clouds keep credentials.
    ["169.254.0.0", 16, "link-local"],
    ["172.16.0.0", 12, "private"],
    ["192.0.0.0", 24, "reserved"],
    ["192.0.2.0", 24, "documentation"],
    ["192.88.99.0", 24, "reserved"],
    ["192.168.0.0", 16, "private"],
    ["198.18.0.0", 15, "benchmarking"],
    ["198.51.100.0", 24, "documentation"],
    ["203.0.113.0", 24, "documentation"],
    // Azure's own: public by number, the host by nature.
    ["168.63.129.16", 32, "metadata"],
    ["224.0.0.0", 4, "multicast"],
    ["240.0.0.0", 4, "reserved"],
  ] as const
).map(([address, prefix, what]) => [number4(address), prefix, what]);

/**
 * Whether an address lies where plugins may not reach.
 * @param address IPv4 or IPv6, in any notation that a resolver gives
 * @returns what it is, such as "loopback"; undefined when it is public
 */
export function refuseAddress(address: string): string | undefined {
  if (isIPv4(address)) return refuse4(number4(address));
  if (!isIPv6(address) || address.includes("%")) return "not an address";
  const groups = groups6(address);
  const group = (index: number): number => groups[index] ?? 0;
  const embedded = (index: number): number => ((group(index) << 16) | group(index + 1)) >>> 0;
  if (groups.slice(0, 7).every((part) => part === 0)) return group(7) === 1 ? "loopback" : "unspecified";
  if (groups.slice(0, 5).every((part) => part === 0)) return "an IPv4 address in IPv6";
  // NAT64 (RFC 6052): the network hands the packet to the IPv4 address inside.
  if (group(0) === 0x64 && group(1) === 0xff9b && groups.slice(2, 6).every((part) => part === 0))
    return refuse4(embedded(6));
  if ((group(0) & 0xfe00) === 0xfc00) return "private";
  if ((group(0) & 0xffc0) === 0xfe80) return "link-local";
  if ((group(0) & 0xff00) === 0xff00) return "multicast";
  // Global unicast is 2000::/3 and nothing else.
  if ((group(0) & 0xe000) !== 0x2000) return "reserved";
  if (group(0) === 0x2001 && group(1) < 0x200) return "reserved";
  if (group(0) === 0x2001 && group(1) === 0xdb8) return "documentation";
  if (group(0) === 0x3fff && group(1) < 0x1000) return "documentation";
  // 6to4 (RFC 3056) leads to the IPv4 address inside.
  if (group(0) === 0x2002) return refuse4(embedded(1));
  return undefined;
}

function refuse4(address: number): string | undefined {
  for (const [network, prefix, what] of ranges4) {
    const shift = 32 - prefix;
    if (address >>> shift === network >>> shift) return what;
  }
  return undefined;
}

function number4(address: string): number {
  return address.split(".").reduce((sum, part) => ((sum << 8) | Number(part)) >>> 0, 0);
}

/** The eight groups of a valid IPv6 address. */
function groups6(address: string): readonly number[] {
  const lastColon = address.lastIndexOf(":");
  const tail = address.slice(lastColon + 1);
  let text = address;
  if (tail.includes(".")) {
    const number = number4(tail);
    text = `${address.slice(0, lastColon + 1)}${(number >>> 16).toString(16)}:${(number & 0xffff).toString(16)}`;
  }
  const [head = "", rest] = text.split("::");
  const parse = (part: string): number[] => (part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  const first = parse(head);
  if (rest === undefined) return first;
  const last = parse(rest);
  return [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last];
}
