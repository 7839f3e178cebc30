import { afterAll, beforeAll, expect, test } from "vitest";
import type { ErrorJson } from "../lib/rest.ts";
import { startStandaloneProcess } from "../lib/standalone.ts";
import { until } from "../lib/until.ts";
import { answeringModule } from "./answering-module.ts";

type System = Awaited<ReturnType<typeof startStandaloneProcess>>;

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const deep = 40_000;

/** What no endpoint and no interceptor may answer. */
const garbage: Readonly<Record<string, Uint8Array>> = {
  not_json: utf8("<html>"),
  cut_off: utf8('{"status": 20'),
  invalid_text: Uint8Array.of(0x22, 0xff, 0xfe, 0x22),
  null: utf8("null"),
  array: utf8("[]"),
  number: utf8("1e999"),
  deep: utf8("[".repeat(deep) + "]".repeat(deep)),
  prototype: utf8('{"__proto__":{"status":200,"deny":{"status":403}},"constructor":1}'),
  header_injection: utf8(
    JSON.stringify({ headers: { a: "b\r\nset-cookie: c" }, setHeaders: { a: "b\r\nset-cookie: c" } }),
  ),
  header_name: utf8(JSON.stringify({ headers: { "a\r\nb": "c" }, setHeaders: { "a\r\nb": "c" } })),
  header_flood: utf8(
    JSON.stringify(
      Object.fromEntries(
        ["headers", "setHeaders"].map((key) => [
          key,
          Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`x-${index}`, "y"])),
        ]),
      ),
    ),
  ),
  status: utf8('{"status":99999,"deny":{"status":99999}}'),
  status_text: utf8('{"status":"200","deny":"yes"}'),
  body_object: utf8('{"body":{},"annotations":{"a":{}}}'),
  body_base64: utf8('{"bodyBase64":"***","removeHeaders":"all"}'),
};
const misbehaving = ["trap", "loop"] as const;
const bad = [...Object.keys(garbage), ...misbehaving];
const good = utf8('{"body":"served"}');

/** A manifest holds so many interceptors. */
const perPlugin = 16;

let system: System;
beforeAll(async () => {
  system = await startStandaloneProcess({ MILLRACE_PLUGINS_DIR: "" });
  const module = Buffer.from(answeringModule({ ...garbage, good })).toString("base64");
  const limits = { fuel: "100000000", timeoutMs: 2000 };
  const upload = async (name: string, manifest: object): Promise<void> => {
    const full = { name, version: "1.0.0", limits, ...manifest };
    const { status, body } = await system.rest.call("POST", "/api/v1/plugins", { manifest: full, module });
    expect([status, body]).toEqual([200, expect.anything()]);
  };
  await upload("garbage", { endpoints: bad.map((name) => ({ path: name, export: name })) });
  const served = ["open", "closed"].flatMap((way) => bad.map((name) => `${way}-${name}`));
  await upload("served", { endpoints: served.slice(0, 64).map((path) => ({ path, export: "good" })) });
  const interceptors = ["OPEN", "CLOSED"].flatMap((way) =>
    bad.map((name) => ({
      phase: "INTERCEPTOR_PHASE_BEFORE",
      pathPrefixes: [`/ext/served/${way.toLowerCase()}-${name}`],
      export: name,
      onFailure: `INTERCEPTOR_FAILURE_${way}`,
      timeoutMs: 2000,
    })),
  );
  for (let at = 0; at < interceptors.length; at += perPlugin)
    await upload(`interceptors-${at}`, { interceptors: interceptors.slice(at, at + perPlugin) });
  // The gateway hears of plugins a moment after their upload was answered.
  await until(
    async () => ((await get("/ext/served/closed-trap")).status >= 500 ? true : undefined),
    "the gateway to know the last interceptor",
  );
}, 120_000);
afterAll(() => system[Symbol.asyncDispose]());

async function get(
  path: string,
): Promise<{ readonly status: number; readonly text: string; readonly headers: Headers }> {
  const response = await fetch(system.httpUrl + path, { headers: { authorization: `Bearer ${system.token}` } });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

test.each(bad)("an endpoint that answers %s is a server's error in good form", async (name) => {
  const { status, text, headers } = await get(`/ext/garbage/${name}`);
  expect(status).toBeGreaterThanOrEqual(500);
  expect((JSON.parse(text) as ErrorJson).error.requestId).not.toBe("");
  expect(headers.has("set-cookie")).toBe(false);
});

test.each(bad)("an interceptor that answers %s fails open or closed, as declared", async (name) => {
  expect(await get(`/ext/served/open-${name}`)).toMatchObject({ status: 200, text: "served" });
  const closed = await get(`/ext/served/closed-${name}`);
  expect(closed.status).toBeGreaterThanOrEqual(500);
  expect(closed.headers.has("set-cookie")).toBe(false);
});

test("the system goes on", async () => {
  expect(system.process.ended, system.process.output).toBe(false);
  expect((await system.rest.call("GET", "/api/v1/queues")).status).toBe(200);
});
