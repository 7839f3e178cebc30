import { expect, it } from "vitest";
import { matchesEvent } from "./event-pattern.ts";

it.each([
  ["job.*", "job.succeeded", true],
  ["job.*", "job", false],
  ["job.*", "job.a.b", false],
  ["user.login", "user.login", true],
  ["user.login", "user.logout", false],
  ["audit.>", "audit.a.b", true],
  ["audit.>", "audit", false],
  [">", "anything", true],
  ["*.login", "user.login", true],
])("%s and %s: %s", (pattern, name, fits) => {
  expect(matchesEvent(pattern, name)).toBe(fits);
});
