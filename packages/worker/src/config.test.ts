import { ConfigError } from "@millrace/service-kit";
import { expect, test } from "vitest";
import { loadWorkerConfig } from "./config.ts";

const load = (nameServers: string) =>
  loadWorkerConfig({ env: { NATS_URL: "nats://127.0.0.1", MILLRACE_PLUGIN_NAME_SERVERS: nameServers }, argv: [] })
    .config;

test("name servers are addresses, which is told at the start and not to each plugin", () => {
  expect(load("").pluginNameServers).toEqual([]);
  expect(load("10.0.0.2, [::1]:5353").pluginNameServers).toEqual(["10.0.0.2", "[::1]:5353"]);
  expect(() => load("dns.example")).toThrow(ConfigError);
  expect(() => load("10.0.0.2:x")).toThrow(/MILLRACE_PLUGIN_NAME_SERVERS/);
});
