import { getOption, type DescMethod } from "@bufbuild/protobuf";
import { httpRule } from "@millrace/protocol";
import type { Dice } from "./dice.ts";
import { oddTexts } from "./message-arbitrary.ts";
import type { Content, WireRequest } from "./wire-request.ts";

const oddTypes = ["text/plain", "application/xml", "multipart/form-data", "application/grpc", "", "json", "a/b;c=d"];
const oddVerbs = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "POST", "PROPFIND"];
const oddQueries = [
  "a=b",
  "__proto__[x]=1",
  "%",
  "%ff=%ff",
  "=&=&&",
  "id=a&id=b",
  "states=%00",
  "pageSize=NaN",
  "x.y.z=1",
];
const oddEnds = [
  "/",
  "//",
  "/..",
  "/%2e%2e/",
  "%",
  "%ff",
  ":",
  ":nothing",
  ";a=b",
  "/.",
  "%00",
  "%2F",
  "/x/y/z/".repeat(40),
];

/** A call as REST writes it: variables in the path, and what is left in the body or the query. */
export function encodeRest(method: DescMethod, content: Content, dice: Dice, odd: boolean): WireRequest {
  const faults: string[] = [];
  const { pattern, body: rest } = getOption(method, httpRule);
  if (pattern.case === undefined || pattern.case === "custom") throw new TypeError(`${method.name} has no REST form`);
  const left: Record<string, unknown> = { ...content.fields };
  let path = pattern.value.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const jsonName = method.input.fields.find((field) => field.name === name)?.jsonName ?? name;
    const value = left[jsonName];
    delete left[jsonName];
    return encodeURIComponent(typeof value === "string" ? value.toWellFormed() : "");
  });
  const headers: Record<string, string> = {};
  let body: Uint8Array = new Uint8Array(0);
  if (rest === "") path += queryOf(left);
  else if (method.methodKind === "client_streaming") {
    headers["content-type"] = "application/x-ndjson";
    body = Buffer.from(content.messages.map(String).join("\n"));
  } else {
    headers["content-type"] = "application/json";
    body = Buffer.from(String(content.messages[0] ?? ""));
  }
  let verb = pattern.case.toUpperCase();
  const spoil = odd ? dice.below(8) : -1;
  if (spoil === 0) headers["content-type"] = dice.pick(oddTypes);
  else if (spoil === 1) verb = dice.pick(oddVerbs);
  else if (spoil === 2) path += `${path.includes("?") ? "&" : "?"}${dice.pick(oddQueries)}`;
  else if (spoil === 3) path = path.split("?")[0] + dice.pick(oddEnds);
  else if (spoil === 4) headers["content-encoding"] = dice.pick(["gzip", "br", "squash"]);
  else if (spoil === 5) headers["accept"] = dice.pick(["application/x-ndjson", "text/html", "*/*;q=0", ""]);
  else if (spoil === 6) headers["last-event-id"] = encodeURIComponent(dice.pick(oddTexts));
  else if (spoil === 7) body = dice.bytes(dice.below(64));
  if (spoil >= 0) faults.push(`odd REST ${spoil}`);
  const http = dice.percent(20) ? 2 : 1;
  return { door: "rest", method, http, verb, path, headers, body, binary: false, faults, demanded: [] };
}

function queryOf(fields: Readonly<Record<string, unknown>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of [value].flat()) {
      query.append(name, typeof one === "object" ? JSON.stringify(one) : String(one));
    }
  }
  return query.size === 0 ? "" : `?${query}`;
}
