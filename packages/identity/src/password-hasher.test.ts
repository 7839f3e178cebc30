import { hash } from "@node-rs/argon2";
import { expect, test } from "vitest";
import { PasswordHasher } from "./password-hasher.ts";

test("passwords are hashed with OWASP's costs, and weaker hashes are told", async () => {
  await using hasher = new PasswordHasher({ atOnce: 2, mostWaiting: 4 });
  const encoded = await hasher.hash("secret");
  expect(encoded).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  expect(await hasher.verify(encoded, "secret")).toBe(true);
  expect(await hasher.verify(encoded, "Secret")).toBe(false);
  expect(await hasher.verify(undefined, "nobody has this password")).toBe(false);
  expect(hasher.isWeak(encoded)).toBe(false);
  expect(hasher.isWeak(await hash("secret", { memoryCost: 4096, timeCost: 2, parallelism: 1 }))).toBe(true);
});

test("more than the places and the queue are told to come again, and the rest get their turn", async () => {
  await using hasher = new PasswordHasher({ atOnce: 1, mostWaiting: 3 });
  await hasher.verify(undefined, "x");
  const order: number[] = [];
  const login = (_: unknown, n: number) => hasher.hash("secret").then(() => order.push(n));
  const all = await Promise.allSettled(Array.from({ length: 10 }, login));
  expect(order).toEqual([0, 1, 2, 3]);
  const refused = all.filter((one) => one.status === "rejected");
  expect(refused).toHaveLength(6);
  expect(refused[0]?.reason).toMatchObject({ code: "unavailable", retryAfterMs: 2000 });
  await hasher.hash("secret");
});
