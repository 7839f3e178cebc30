import { expect, it } from "vitest";
import { nextDevVersion } from "./dev-version.ts";

it.each<[string, string[], string]>([
  ["1.2.0", [], "1.2.0-dev.1"],
  ["1.2.0", ["1.2.0-dev.9", "1.2.0-dev.10", "1.1.0-dev.99", "1.2.0", "1.2.0-dev.x"], "1.2.0-dev.11"],
  ["1.2.0-rc.1", ["1.2.0-rc.1.dev.3"], "1.2.0-rc.1.dev.4"],
  ["1.2.0+build.7", [], "1.2.0-dev.1"],
])("%s after %o", (version, known, expected) => {
  expect(nextDevVersion(version, known)).toBe(expected);
});
