import { toJson } from "@bufbuild/protobuf";
import { InterceptorFailure, InterceptorPhase, PluginManifestSchema } from "@millrace/protocol";
import { describe, expect, test } from "vitest";
import { parseManifest } from "./parse-manifest.ts";

const good = { name: "audit", version: "1.2.3", handlers: [{ type: "audit", export: "on_audit_event" }] };

describe("parseManifest", () => {
  test("takes a short manifest", () => {
    expect(parseManifest(good)).toMatchObject({
      ok: true,
      manifest: { ...good, description: "", author: "", limits: { timeoutMs: 0 }, stateful: false },
    });
  });

  test("takes a full one", () => {
    const limits = { timeoutMs: 5000, memoryPages: 256, outputBytes: 1024, logBytes: 10 };
    const full = { ...good, description: "d", author: "a", limits, stateful: true };
    expect(parseManifest(full)).toMatchObject({ ok: true, manifest: full });
  });

  test("takes every extension point, capability and limit", () => {
    const parsed = parseManifest({
      name: "all",
      version: "1.0.0-rc.1",
      limits: { fuel: 1e15, tableEntries: 10, callDepth: 100, hostCalls: 5, varBytes: 1000 },
      events: [{ pattern: "user.*", export: "on_user" }],
      schedules: [{ name: "nightly", cron: "0 3 * * *", timeZone: "Europe/Vienna", export: "tick", input: { a: [1] } }],
      interceptors: [{ phase: "before", onFailure: "closed", pathPrefixes: ["/api"], export: "guard", order: -1 }],
      endpoints: [{ path: "hooks/*", methods: ["POST"], export: "hook" }],
      capabilities: {
        http: ["api.example.com", "http://host:8080", "*.example.com", "[::1]:80"],
        kvBytes: 1024,
        secrets: ["TOKEN"],
        events: ["audit.>"],
        jobs: ["*", "send_email"],
      },
      minimumPlatform: "0.2.0",
      config: { region: "eu" },
    });
    expect(parsed).toMatchObject({
      ok: true,
      manifest: {
        handlers: [],
        limits: { fuel: 10n ** 15n, hostCalls: 5, timeoutMs: 0 },
        events: [{ pattern: "user.*", export: "on_user" }],
        schedules: [{ name: "nightly", timeZone: "Europe/Vienna" }],
        interceptors: [{ phase: InterceptorPhase.BEFORE, onFailure: InterceptorFailure.CLOSED, order: -1 }],
        endpoints: [{ path: "hooks/*", methods: ["POST"] }],
        capabilities: { kvBytes: 1024n, jobs: ["*", "send_email"] },
        minimumPlatform: "0.2.0",
        config: { region: "eu" },
      },
    });
    if (parsed.ok)
      expect(toJson(PluginManifestSchema, parsed.manifest)).toMatchObject({ schedules: [{ input: { a: [1] } }] });
  });

  test("names what is wrong inside lists", () => {
    const parsed = parseManifest({
      ...good,
      events: [{ pattern: "User.*", export: "x" }],
      schedules: [
        { name: "a", cron: "daily", timeZone: "Mars/Olympus", export: "x" },
        { name: "a", cron: "* * * * *", export: "x" },
      ],
      interceptors: [{ phase: "during", export: "x" }],
      endpoints: [{ path: "a b", methods: ["get"], export: "x" }, { path: "" }],
      capabilities: { http: ["https://a/b"], kvBytes: "1M", secrets: ["a b"], events: [1], jobs: ["a.b"], files: [] },
      minimumPlatform: "two",
      config: { a: 1 },
    });
    expect(!parsed.ok && parsed.problems.map(({ field }) => field).sort()).toEqual(
      [
        "events[0].pattern",
        "schedules[0].cron",
        "schedules[0].timeZone",
        "schedules[1].name",
        "interceptors[0].phase",
        "interceptors[0].onFailure",
        "endpoints[0].path",
        "endpoints[0].methods[0]",
        "endpoints[1].export",
        "capabilities.http[0]",
        "capabilities.kvBytes",
        "capabilities.secrets[0]",
        "capabilities.events[0]",
        "capabilities.jobs[0]",
        "capabilities.files",
        "minimumPlatform",
        "config.a",
      ].sort(),
    );
  });

  test("reports all problems at once", () => {
    const parsed = parseManifest({
      name: "No Good",
      version: 1.2,
      author: 7,
      handlers: [{ type: "a.b", export: "x" }, { type: "t", export: "" }, { type: "t", export: "x", extra: 1 }, "x"],
      limits: { timeoutMs: -1, memoryPages: 1.5, colour: 3 },
      stateful: "yes",
      colour: "red",
    });
    expect(parsed.ok).toBe(false);
    if (parsed.ok) return;
    expect(parsed.problems.map(({ field }) => field).sort()).toEqual(
      [
        "author",
        "colour",
        "handlers[0].type",
        "handlers[1].export",
        "handlers[2].extra",
        "handlers[2].type",
        "handlers[3]",
        "limits.colour",
        "limits.memoryPages",
        "limits.timeoutMs",
        "name",
        "stateful",
        "version",
      ].sort(),
    );
  });

  test.each([[null], ["text"], [[]], [{ ...good, handlers: [] }], [{ ...good, limits: 3 }]])("refuses %j", (value) => {
    expect(parseManifest(value).ok).toBe(false);
  });
});
