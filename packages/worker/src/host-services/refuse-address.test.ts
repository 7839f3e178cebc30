import fc from "fast-check";
import { expect, test } from "vitest";
import { refuseAddress } from "./refuse-address.ts";

const refused =
  `0.0.0.0 0.1.2.3 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.8 192.168.1.1 198.18.0.1 224.0.0.1 239.1.1.1 255.255.255.255 168.63.129.16 :: ::1 ::ffff:8.8.8.8
::ffff:127.0.0.1 ::ffff:7f00:1 ::7f00:1 ::ffff:0:127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::8.8.8.8
2002:7f00:1:: 2002:a9fe:a9fe::1 2001::1 2001:db8::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 4000::1 fe80::1%eth0
name.example 1.2.3`.split(/\s+/);
const accepted = `1.1.1.1 8.8.8.8 172.32.0.1 100.128.0.1 168.63.129.17 2606:4700:4700::1111 2a00:1450:4001:81b::200e
64:ff9b::8.8.8.8 2002:808:808::1`.split(/\s+/);

test.each(refused)("%s is out of reach", (address) => {
  expect(refuseAddress(address)).toBeTypeOf("string");
});

test.each(accepted)("%s is public", (address) => {
  expect(refuseAddress(address)).toBeUndefined();
});

test("an IPv4 address inside of NAT64 or 6to4 is judged as itself, and mapped ones are refused", () => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
      const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
      expect(refuseAddress(`64:ff9b::${address}`)).toBe(refuseAddress(address));
      expect(refuseAddress(`2002:${hex}::1`)).toBe(refuseAddress(address));
      expect(refuseAddress(`::ffff:${address}`)).toBeTypeOf("string");
    }),
  );
});
