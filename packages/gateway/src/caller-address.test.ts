import { SystemService } from "@millrace/protocol";
import { CallContext } from "@millrace/rpc";
import { expect, test } from "vitest";
import { createCallerAddress, limitKey } from "./caller-address.ts";

const from = (forwarded: string, hops: number): string =>
  createCallerAddress(hops)(
    new CallContext({
      method: SystemService.method.getInfo,
      protocolName: "rest",
      requestMethod: "GET",
      url: "/",
      headers: { "x-forwarded-for": forwarded },
      address: "::ffff:10.0.0.1",
    }),
  );

test.for([
  ["203.0.113.9", 0, "10.0.0.1"],
  ["203.0.113.9", 1, "203.0.113.9"],
  ["6.6.6.6, 203.0.113.9", 1, "203.0.113.9"],
  ["203.0.113.9, 10.0.0.2", 2, "203.0.113.9"],
  // Fewer than there are proxies: somebody has come in between.
  ["203.0.113.9", 2, "10.0.0.1"],
  ["203.0.113.9:4711", 1, "203.0.113.9"],
  ["[2001:db8::1]:4711", 1, "2001:db8::1"],
  ["[2001:db8::1]", 1, "2001:db8::1"],
  ["2001:db8::1", 1, "2001:db8::1"],
  ["::ffff:203.0.113.9", 1, "203.0.113.9"],
  ["1.2.3", 1, "10.0.0.1"],
  ["..:", 1, "10.0.0.1"],
  ["unknown", 1, "10.0.0.1"],
  ["", 1, "10.0.0.1"],
] as const)("x-forwarded-for %j behind %i proxies is %s", ([forwarded, hops, address]) => {
  expect(from(forwarded, hops)).toBe(address);
});

test("all of one IPv6 network share a limit", () => {
  expect(limitKey("2001:db8::1")).toBe(limitKey("2001:db8:0:0:ffff::2"));
  expect(limitKey("2001:db8:0:1::1")).not.toBe(limitKey("2001:db8::1"));
});
