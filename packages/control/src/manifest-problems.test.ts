import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { InterceptorFailure, InterceptorPhase, PluginManifestSchema } from "@millrace/protocol";
import { describe, expect, it } from "vitest";
import { manifestProblems } from "./manifest-problems.ts";

function problems(more: MessageInitShape<typeof PluginManifestSchema>): string[] {
  const handlers = [{ type: "t", export: "run" }];
  const found = manifestProblems(create(PluginManifestSchema, { name: "p", version: "1.0.0", handlers, ...more }));
  return found.map(({ field, reason }) => `${field}: ${reason}`);
}

const every = { name: "tick", cron: "*/5 * * * *", export: "run" };

describe("manifestProblems", () => {
  it("finds nothing in a manifest that extends everything", () => {
    const whole = problems({
      version: "1.0.0-dev.3+build",
      minimumPlatform: "0.1.0",
      events: [{ pattern: "job.*", export: "run" }],
      schedules: [every, { name: "zoned", cron: "0 30 9 * * MON", timeZone: "Europe/Vienna", export: "run" }],
      interceptors: [
        { phase: InterceptorPhase.BEFORE, onFailure: InterceptorFailure.CLOSED, pathPrefixes: ["/api"], export: "run" },
      ],
      endpoints: [{ path: "a/*", methods: ["GET", "POST"], export: "run" }],
      capabilities: {
        http: ["api.example.com", "http://host:8080", "*.example.com", "https://[::1]:443"],
        events: ["audit.>", "user.*"],
        jobs: ["*", "send_email"],
      },
      config: { a: "b" },
    });
    expect(whole).toEqual([]);
  });

  it.each([
    ["extends nothing", { handlers: [] }],
    ["events[0].export", { events: [{ pattern: "user.*", export: "two words" }] }],
    ["schedules[0].export", { schedules: [{ ...every, export: "x".repeat(58) }] }],
    ["manifest.version", { version: "01.0.0" }],
    ["minimum_platform", { minimumPlatform: "soon" }],
    ["handlers[1].type: t has a handler already", { handlers: [{ type: "t" }, { type: "t" }] }],
    ["schedules[1].name", { schedules: [every, every] }],
    ["schedules[0].cron", { schedules: [{ ...every, cron: "61 * * * *" }] }],
    ["five, or six", { schedules: [{ ...every, cron: "* * * * * * *" }] }],
    ["five, or six", { schedules: [{ ...every, cron: "@daily" }] }],
    ["never comes", { schedules: [{ ...every, cron: "0 0 30 2 *" }] }],
    ["no time zone", { schedules: [{ ...every, timeZone: "Middle/Earth" }] }],
    ["interceptors[0].phase", { interceptors: [{ onFailure: InterceptorFailure.OPEN }] }],
    ["interceptors[0].on_failure", { interceptors: [{ phase: InterceptorPhase.AFTER }] }],
    [
      "GET a has an endpoint",
      {
        endpoints: [
          { path: "a", methods: ["GET"] },
          { path: "a", methods: ["GET"] },
        ],
      },
    ],
    ["65 pairs", { config: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ""])) }],
    ["bytes; at most 65536", { config: { a: "x".repeat(70_000) } }],
    ["capabilities.http[0]", { capabilities: { http: ["ftp://host"] } }],
    ["capabilities.http[0]", { capabilities: { http: ["host/path"] } }],
    ["capabilities.events[0]", { capabilities: { events: ["a.>.b"] } }],
    ["capabilities.jobs[0]", { capabilities: { jobs: ["a.b"] } }],
  ])("says %s", (words, more) => {
    expect(problems(more).join("\n")).toContain(words);
  });
});
