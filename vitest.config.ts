import { defineConfig } from "vitest/config";

/** The check: everything but the fault tests, which kill processes under load and take minutes. */
export default defineConfig({
  test: {
    include: ["packages/*/src/**/*.test.ts", "plugins/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["**/node_modules/**", "test/faults/**", "test/bench/**"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Tests start real servers: a few files at a time, or they starve each other on a small machine.
    maxWorkers: 2,
  },
});
