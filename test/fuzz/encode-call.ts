import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { DescMethod } from "@bufbuild/protobuf";
import type { ErrorCode } from "@millrace/protocol";
import { gzipSync } from "node:zlib";
import type { Dice } from "./dice.ts";
import type { Content, Door, WireRequest } from "./wire-request.ts";

interface Draft {
  verb: string;
  path: string;
  headers: Record<string, string>;
  body: Uint8Array;
  faults: string[];
  demanded: ErrorCode[];
}

const oddTypes = [
  "text/plain",
  "application/octet-stream",
  "application/json; charset=utf-16",
  "application/connect+xml",
  "application/grpc+thrift",
  "application/grpc-web-text+json",
  "multipart/form-data; boundary=x",
  "application/connect+proto",
  "application/grpc-web+proto",
  "",
];
/** A head that is larger than a server takes has no protocol to be refused in. */
const maxQueryBytes = 8 * 1024;
const oddTimeouts = ["soon", "-1", "", "99999999999999999999", "1.5", "NaN", "5X", "100000000H", "0x10"];

/** A call as Connect, gRPC or gRPC-web writes it. */
export function encodeCall(
  door: Exclude<Door, "rest">,
  method: DescMethod,
  content: Content,
  dice: Dice,
  odd: boolean,
): WireRequest {
  const unary = door === "connect" && method.methodKind === "unary";
  const draft: Draft = {
    verb: "POST",
    path: `/${method.parent.typeName}/${method.name}`,
    headers: {},
    body: new Uint8Array(0),
    faults: [],
    demanded: [],
  };
  if (unary) writeUnary(draft, method, content, dice, odd);
  else writeFrames(draft, door, content, dice, odd);
  if (odd && dice.percent(40)) makeHeadersOdd(draft, door, unary, dice);
  const http = door === "grpc" || dice.percent(20) ? 2 : 1;
  return { ...draft, door, method, http, binary: content.binary };
}

function writeUnary(draft: Draft, method: DescMethod, content: Content, dice: Dice, odd: boolean): void {
  const message = Buffer.from((content.messages[0] ?? "") as string);
  draft.headers["content-type"] = content.binary ? "application/proto" : "application/json";
  draft.body = message;
  const readOnly = method.proto.options?.idempotencyLevel === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  if (readOnly && message.byteLength <= maxQueryBytes && dice.percent(20)) {
    const query = new URLSearchParams({ connect: "v1", encoding: content.binary ? "proto" : "json", base64: "1" });
    query.set("message", message.toString("base64url"));
    if (odd) {
      draft.faults.push("odd GET");
      query.set(
        dice.pick(["connect", "encoding", "base64", "message", "compression", "x"]),
        dice.pick(["", "v9", "%", "0", "gzip"]),
      );
      // An encoding or compression that there is not is unimplemented, by Connect's protocol.
      draft.demanded.push("unimplemented");
    }
    Object.assign(draft, { verb: "GET", path: `${draft.path}?${query}`, body: new Uint8Array(0) });
    delete draft.headers["content-type"];
    return;
  }
  if (odd ? !dice.percent(30) : !dice.percent(10)) return;
  const encoding = odd ? dice.pick(["gzip", "br", "squash", "identity", "gzip, gzip", ""]) : "gzip";
  draft.headers["content-encoding"] = encoding;
  if (!odd) draft.body = gzipSync(message);
  else {
    draft.faults.push(`content-encoding ${encoding}`);
    if (encoding !== "gzip" && encoding !== "br") draft.demanded.push("unimplemented");
    if (dice.percent(30)) draft.body = gzipSync(message).subarray(0, dice.below(30));
  }
}

function writeFrames(draft: Draft, door: Exclude<Door, "rest">, content: Content, dice: Dice, odd: boolean): void {
  const form = content.binary ? "proto" : "json";
  const text = door === "grpc-web" && dice.percent(25);
  const base = door === "connect" ? "application/connect" : `application/${door}${text ? "-text" : ""}`;
  draft.headers["content-type"] = `${base}+${form}`;
  if (door === "grpc") draft.headers["te"] = "trailers";
  const frames = content.messages.map((message) => frame(Buffer.from(message as string)));
  if (odd) spoilFrames(frames, draft, dice);
  else if (dice.percent(10)) {
    draft.headers[door === "connect" ? "connect-content-encoding" : "grpc-encoding"] = "gzip";
    frames.splice(
      0,
      frames.length,
      ...content.messages.map((message) => frame(gzipSync(Buffer.from(message as string)), 1)),
    );
  }
  const body = Buffer.concat(frames);
  draft.body = text ? Buffer.from(base64Of(body, draft, dice, odd)) : body;
}

function spoilFrames(frames: Buffer[], draft: Draft, dice: Dice): void {
  const first = frames[0] ?? Buffer.alloc(5);
  const flags = dice.pick([0x02, 0x04, 0x40, 0x80, 0xfe, 0xff, 0x01]);
  switch (dice.below(7)) {
    case 0:
      draft.faults.push(`flags ${flags}`);
      first[0] = flags;
      // gRPC's compression.md: "MUST fail with INTERNAL". Connect's flag 2 is the end of the stream: no message then.
      draft.demanded.push("internal", "unimplemented");
      break;
    case 1:
      draft.faults.push("length too large");
      // Nothing behind the length counts as no message.
      draft.demanded.push("unimplemented");
      first.writeUInt32BE(dice.pick([0xffffffff, 0x7fffffff, first.byteLength, 0x00ffffff]), 1);
      break;
    case 2:
      draft.faults.push("length too small");
      first.writeUInt32BE(Math.max(0, first.byteLength - 5 - 1 - dice.below(4)), 1);
      draft.demanded.push("unimplemented");
      break;
    case 3:
      draft.faults.push("cut");
      frames.splice(0, frames.length, first.subarray(0, dice.below(first.byteLength)));
      draft.demanded.push("unimplemented");
      break;
    case 4:
      // gRPC's statuscodes.md: "client-side cardinality violation" is UNIMPLEMENTED.
      draft.faults.push("one message too many");
      frames.push(first);
      draft.demanded.push("unimplemented");
      break;
    case 5:
      draft.faults.push("no message");
      frames.splice(0);
      draft.demanded.push("unimplemented");
      break;
    default: {
      const name =
        draft.headers["content-type"]?.includes("connect") === true ? "connect-content-encoding" : "grpc-encoding";
      const encoding = dice.pick(["gzip", "br", "squash", "identity", "deflate"]);
      draft.faults.push(`encoding ${encoding}`);
      draft.headers[name] = encoding;
      if (encoding === "squash" || encoding === "deflate") draft.demanded.push("unimplemented");
      else if (dice.percent(50)) first[0] = 1;
      if (first[0] === 1 && encoding === "identity") draft.demanded.push("internal");
    }
  }
}

function makeHeadersOdd(draft: Draft, door: Door, unary: boolean, dice: Dice): void {
  const { headers } = draft;
  switch (dice.below(4)) {
    case 0: {
      const type = dice.pick(oddTypes);
      draft.faults.push(`content-type ${type}`);
      headers["content-type"] = type;
      draft.demanded.push("unimplemented", "internal");
      break;
    }
    case 1: {
      const timeout = dice.pick(oddTimeouts);
      draft.faults.push(`timeout ${timeout}`);
      headers[door === "connect" ? "connect-timeout-ms" : "grpc-timeout"] = timeout;
      break;
    }
    case 2:
      draft.faults.push("next to no time");
      headers[door === "connect" ? "connect-timeout-ms" : "grpc-timeout"] =
        door === "connect" ? dice.pick(["0", "1"]) : dice.pick(["1n", "1m"]);
      draft.demanded.push("deadline_exceeded");
      break;
    default:
      if (unary) headers["connect-protocol-version"] = dice.pick(["1", "2", ""]);
      else draft.path += dice.pick(["/", "?a=b", "%20", "X"]);
      draft.faults.push("odd path or version");
      // gRPC has no other word for a method that there is not.
      draft.demanded.push("unimplemented");
  }
}

/** Clients may flush base64 in pieces. */
function base64Of(body: Buffer, draft: Draft, dice: Dice, odd: boolean): string {
  if (odd && dice.percent(20)) {
    draft.faults.push("no base64");
    draft.demanded.push("unimplemented", "internal");
    return dice.pick(["%%%%", "====", "AAAA=AAAA", "\u0000", "AAAAAAA"]);
  }
  const at = dice.below(body.byteLength + 1);
  return body.subarray(0, at).toString("base64") + body.subarray(at).toString("base64");
}

function frame(bytes: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(bytes.byteLength, 1);
  return Buffer.concat([head, bytes]);
}
