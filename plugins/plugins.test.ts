import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inspectModule, loadPlugin, parseManifest, type CallResult } from "@millrace/plugin-host";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { buildPlugin, clangVersion, findClang, pluginBuilds } from "./build.ts";

const folder = import.meta.dirname;
const read = (path: string) => new Uint8Array(readFileSync(path));
const load = (name: string) => loadPlugin(read(join(folder, name, `${name}.wasm`)));
const bytes = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

function textOf(result: CallResult): string {
  if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
  return new TextDecoder("utf-8", { fatal: true }).decode(result.output);
}
const jsonOf = (result: CallResult): unknown => JSON.parse(textOf(result));

describe.each(["flights", "audit", "redact"])("%s", (name) => {
  test("has a manifest whose exports are in the module", async () => {
    const parsed = parseManifest(parse(readFileSync(join(folder, name, "plugin.yaml"), "utf8")));
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    const { handlers } = parsed.manifest;
    const inspection = await inspectModule(read(join(folder, name, `${name}.wasm`)), { handlers });
    expect(inspection).toMatchObject({ ok: true });
  });
});

describe("clean_flight", async () => {
  const plugin = await load("flights");
  const clean = (record: unknown) => plugin.call("clean_flight", bytes(record));
  const good = { date: "2001/01/01 00:47", delay: 66, distance: 1750, origin: "DTW", destination: "LAS" };

  test("normalises a record", async () => {
    expect(jsonOf(await clean(good))).toEqual({
      departure: "2001-01-01T00:47",
      weekday: "monday",
      route: "DTW-LAS",
      origin: "DTW",
      destination: "LAS",
      distanceKm: 2816,
      haul: "medium",
      delayMinutes: 66,
      delay: "very_late",
    });
  });

  test.each([
    [-1, "early"],
    [0, "on_time"],
    [14, "on_time"],
    [15, "late"],
    [60, "very_late"],
    [180, "severe"],
  ])("a delay of %i minutes is %s", async (delay, expected) => {
    expect(jsonOf(await clean({ ...good, delay }))).toMatchObject({ delay: expected });
  });

  test("puts codes into capitals", async () => {
    expect(jsonOf(await clean({ ...good, origin: " dtw " }))).toMatchObject({ route: "DTW-LAS" });
  });

  test("names all problems of a bad record", async () => {
    const bad = { date: "2001/02/29 10:00", delay: 1.5, distance: 0, origin: 'D"W', destination: 7 };
    const result = await clean(bad);
    expect(result).toMatchObject({ ok: false, code: "HANDLER_FAILED" });
    expect(!result.ok && result.message.split("; ").map((problem) => problem.split(":")[0])).toEqual([
      "date",
      "delay",
      "distance",
      "origin",
      "destination",
    ]);
  });

  test.each(["", "no json", "[1]", "{}", '{"date":', "\u{1F6EB}", '{"delay":01}', "null", "[".repeat(10_000)])(
    "refuses %j with words",
    async (text) => {
      expect(await clean(text)).toMatchObject({ ok: false, code: "HANDLER_FAILED" });
    },
  );

  test("agrees with the same rules written in TypeScript, on all 20,000 records", async () => {
    const file = join(folder, "node_modules/vega-datasets/data/flights-20k.json");
    const records = JSON.parse(readFileSync(file, "utf8")) as (typeof good)[];
    expect(records.length).toBe(20_000);
    const dayOf = new Intl.DateTimeFormat("en", { weekday: "long", timeZone: "UTC" });
    const differences: unknown[] = [];
    for (const record of records) {
      const departure = record.date.replaceAll("/", "-").replace(" ", "T");
      const weekday = dayOf.format(new Date(`${departure}:00Z`)).toLowerCase();
      const distanceKm = Math.round(record.distance * 1.609344);
      const actual = jsonOf(await clean(record)) as Record<string, unknown>;
      const isSame =
        actual["departure"] === departure &&
        actual["weekday"] === weekday &&
        actual["distanceKm"] === distanceKm &&
        actual["delayMinutes"] === record.delay;
      if (!isSame) differences.push({ record, actual });
    }
    expect(differences).toEqual([]);
  });
});

describe("on_audit_event", async () => {
  const plugin = await load("audit");
  const judge = (event: unknown) => plugin.call("on_audit_event", bytes(event));

  test.each([
    [{ type: "user.login", actor: "ada", success: true }, "authentication", "info", "allow"],
    [{ event: "user.login", actor: "ada", success: false, failedAttempts: 6 }, "authentication", "high", "alert"],
    [{ type: "user.data_access", actor: "ada", records: 5000 }, "data_access", "medium", "review"],
    [
      { type: "user.data_access", actor: "ada", classification: "PII", export: true },
      "data_access",
      "critical",
      "alert",
    ],
    [{ type: "admin.config_change", actor: "ada", setting: "theme" }, "administration", "medium", "review"],
    [
      { type: "admin.config_change", actor: "ada", setting: "audit.on", value: false },
      "administration",
      "critical",
      "alert",
    ],
    [{ type: "user.role_change", actor: "ada", target: "ada", role: "admin" }, "administration", "critical", "alert"],
    [{ type: "tea.served", actor: "ada" }, "unknown", "low", "allow"],
  ])("%j is %s, %s, %s", async (event, category, severity, verdict) => {
    const name = "type" in event ? event.type : event.event;
    expect(jsonOf(await judge(event))).toMatchObject({ event: name, category, severity, verdict });
  });

  test("gives a reason for whatever is not plain", async () => {
    expect(jsonOf(await judge({ type: "user.login", success: false }))).toMatchObject({
      reasons: ["the login failed", "nobody is named as the actor"],
    });
  });

  test.each(['a "quoted" \\ name', "\u0000\n\t", "grüße 😀", "\ud800 alone", "</script>\u2028"])(
    "gives %j back as it was",
    async (type) => {
      expect(jsonOf(await judge({ type }))).toMatchObject({ event: type });
    },
  );

  test("refuses what is no event", async () => {
    expect(await judge("no json")).toMatchObject({
      ok: false,
      message: "not JSON: unexpected character at character 0",
    });
    expect(await judge({ actor: "ada" })).toMatchObject({ ok: false, message: expect.stringMatching(/^type: /) });
  });
});

describe("redact", async () => {
  const plugin = await load("redact");
  const redact = async (text: string) => textOf(await plugin.call("redact", bytes(text)));

  test.each([
    ["", ""],
    ["nothing to hide", "nothing to hide"],
    ["write to bob.b+x@mail.example.co.uk.", "write to [email]."],
    ["a@b, @x.com, a@.com, a@b.c and a@b.1", "a@b, @x.com, a@.com, a@b.c and a@b.1"],
    ["4111 1111 1111 1111", "[card]"],
    ["pay 5500-0000-0000-0004 or 378282246310005!", "pay [card] or [card]!"],
    ["4111111111111112 fails Luhn", "4111111111111112 fails Luhn"],
    ["order 12345678901234567890123", "order 12345678901234567890123"],
    ["grüße an zoë@exämple.de und x@y.de", "grüße an zoë@exämple.de und [email]"],
    ['{"to":"a@b.cc","card":"4111111111111111"}', '{"to":"[email]","card":"[card]"}'],
  ])("%j becomes %j", async (text, expected) => {
    expect(await redact(text)).toBe(expected);
  });

  test("counts what it took out", async () => {
    const result = await plugin.call("redact", bytes("a@b.cc, c@d.ee, 4111111111111111"));
    expect(result.logs).toEqual([{ level: "info", text: "2 e-mail addresses, 1 card numbers" }]);
  });

  test("takes half a megabyte of addresses", async () => {
    expect(await redact("a@b.cc ".repeat(75_000))).toBe("[email] ".repeat(75_000));
  });
});

describe("the build", async () => {
  const clang = await findClang();
  const buildable = pluginBuilds.filter(({ language }) => language === "assemblyscript" || clang === clangVersion);

  test.each(buildable)("of $name gives the committed bytes", async (build) => {
    const built = await buildPlugin(build);
    expect(Buffer.compare(built, read(build.module))).toBe(0);
  });
});
