import { createLocalJWKSet, decodeProtectedHeader, jwtVerify, type JSONWebKeySet } from "jose";
import { expect, test } from "vitest";
import { openIdentityStore } from "./identity-fixture.ts";
import { KeyRing } from "./key-ring.ts";

const dayMs = 24 * 3_600_000;

test("a new key is published before it signs, and the old one is published until nothing needs it", async () => {
  await using store = await openIdentityStore();
  let now = Date.now();
  const ring = new KeyRing(store.identity.signingKeys, { keyMs: 30 * dayMs, overlapMs: dayMs, now: () => now });
  const published = async (): Promise<JSONWebKeySet> => JSON.parse(ring.jwks()) as JSONWebKeySet;
  const kidOf = async (): Promise<string | undefined> => decodeProtectedHeader(await ring.sign({})).kid;
  await ring.rotate();
  const first = await kidOf();
  const token = await ring.sign({ sub: "a" });
  await ring.rotate();
  expect(await kidOf()).toBe(first);
  now += 30 * dayMs + 1;
  await ring.rotate();
  const { keys } = await published();
  expect(keys).toHaveLength(2);
  expect(keys.every((key) => key.alg === "EdDSA" && !("d" in key))).toBe(true);
  expect(await kidOf()).toBe(first);
  now += 180_000;
  await ring.rotate();
  expect(await kidOf()).not.toBe(first);
  expect((await jwtVerify(token, createLocalJWKSet(await published()))).payload.sub).toBe("a");
  now += dayMs;
  await ring.rotate();
  expect((await published()).keys.map(({ kid }) => kid)).toEqual([await kidOf()]);
});
