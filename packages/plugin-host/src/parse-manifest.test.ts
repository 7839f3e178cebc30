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

  test("reports all problems at once", () => {
    const parsed = parseManifest({
      name: "No Good",
      version: 1.2,
      author: 7,
      handlers: [{ type: "a.b", export: "x" }, { type: "t", export: "" }, { type: "t", export: "x", extra: 1 }, "x"],
      limits: { timeoutMs: -1, memoryPages: 1.5, fuel: 3 },
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
        "limits.fuel",
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
