import { randomBytes } from "node:crypto";
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from "jose";
import { expect, test } from "vitest";
import { openIdentityStore } from "./identity-fixture.ts";
import { KeyCipher } from "./key-cipher.ts";
import { KeyRing } from "./key-ring.ts";

const lives = { keyMs: 86_400_000, overlapMs: 3_600_000 };

test("keys are encrypted where there is a secret, those stored in plain too, and open with that secret only", async () => {
  await using store = await openIdentityStore();
  const { signingKeys } = store.identity;
  const plain = new KeyRing(signingKeys, lives);
  await plain.rotate();
  const token = await plain.sign({ sub: "ada" });
  expect(JSON.stringify(await signingKeys.list())).toContain('"d":');

  const secret = randomBytes(32);
  const ring = new KeyRing(signingKeys, { ...lives, cipher: new KeyCipher([secret]) });
  await ring.rotate();
  const [stored, ...others] = await signingKeys.list();
  expect(others).toEqual([]);
  expect(stored?.privateJwk).toMatch(/^[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/);
  const jwks = JSON.parse(ring.jwks()) as JSONWebKeySet;
  expect((await jwtVerify(token, createLocalJWKSet(jwks))).payload.sub).toBe("ada");

  const again = new KeyRing(signingKeys, { ...lives, cipher: new KeyCipher([secret]) });
  await again.rotate();
  expect(again.jwks()).toBe(ring.jwks());
  const late = () => Date.now() + 2 * lives.keyMs;
  const wrong = new KeyRing(signingKeys, { ...lives, cipher: new KeyCipher([randomBytes(32)]), now: late });
  await expect(wrong.rotate()).rejects.toThrow("encrypted with another secret");
  await expect(new KeyRing(signingKeys, lives).rotate()).rejects.toThrow("MILLRACE_KEY_SECRET_FILE is needed");
  expect(await signingKeys.list()).toHaveLength(1);
  // A key that was put in another one's place does not count.
  await signingKeys.insert({ kid: "other", privateJwk: stored?.privateJwk ?? null, createdAtMs: 0 });
  await expect(again.rotate()).rejects.toThrow("encrypted with another secret");
  expect(() => new KeyCipher([secret, randomBytes(16)])).toThrow("32 bytes, not 16");
});

test("a new secret takes the place of an old one, which is not needed from then on", async () => {
  await using store = await openIdentityStore();
  const { signingKeys } = store.identity;
  const [old, young] = [randomBytes(32), randomBytes(32)];
  const ringWith = (...secrets: Uint8Array[]) => new KeyRing(signingKeys, { ...lives, cipher: new KeyCipher(secrets) });
  const before = ringWith(old);
  await before.rotate();
  const stored = await signingKeys.list();

  // One of several identities that reads the new secret, and does not write with it yet.
  await ringWith(old, young).rotate();
  expect(await signingKeys.list()).toEqual(stored);
  await ringWith(young, old).rotate();
  expect(await signingKeys.list()).not.toEqual(stored);
  await ringWith(old, young).rotate();

  await ringWith(young, old).rotate();
  const after = ringWith(young);
  await after.rotate();
  expect(after.jwks()).toBe(before.jwks());
  await expect(ringWith(old).rotate()).rejects.toThrow("encrypted with another secret");
});
