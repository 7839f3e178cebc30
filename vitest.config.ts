import { defineConfig } from "vitest/config";

// Elections take their time: the matrix runs what a cluster does, beside the fault tests.
const clusters = process.env["MILLRACE_TEST_CLUSTERS"] === "1" ? [] : ["packages/bus/src/*cluster.test.ts"];
const notHere = ["**/node_modules/**", "test/faults/**", "test/bench/**", ...clusters];
const security = "test/security/**/*.test.ts";

/** The check: everything but the fault tests, which kill processes under load and take minutes. */
export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Tests start real servers: a few files at a time, or they starve each other on a small machine.
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: "parts",
          include: ["packages/*/src/**/*.test.ts", "plugins/**/*.test.ts", "test/**/*.test.ts"],
          exclude: [...notHere, security],
        },
      },
      // Attacks share one system: what one leaves behind must not open a door to the next.
      {
        extends: true,
        test: {
          name: "security",
          include: [security],
          exclude: notHere,
          globalSetup: "test/security/shared-system.ts",
        },
      },
    ],
  },
});
