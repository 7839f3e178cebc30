import {
  fromBinary,
  getOption,
  toBinary,
  fromJson,
  toJson,
  type DescMethod,
  type JsonObject,
} from "@bufbuild/protobuf";
import { credentials, Client, Metadata, type ServiceError } from "@grpc/grpc-js";
import { errorTable, httpRule, type ErrorCode } from "@millrace/protocol";

/** What a door said to one call; of a stream, its first message. */
export interface Said {
  /** `ok`, or the error's code. */
  readonly code: string;
  /** The error's words. */
  readonly message: string;
  readonly answer: JsonObject;
  /** By lower-case name; of gRPC, trailers included. */
  readonly headers: Readonly<Record<string, string>>;
  /** All that came, as text, to look for what must not be there. */
  readonly raw: string;
}

/** Calls a method by nothing but a foreign client: fetch or `@grpc/grpc-js`. The request is protobuf's JSON. */
export type Door = (
  method: DescMethod,
  request?: JsonObject,
  headers?: Readonly<Record<string, string>>,
) => Promise<Said>;

export const doorNames = ["REST", "Connect", "gRPC", "gRPC-web"] as const;
export type DoorName = (typeof doorNames)[number];

/** The four ways in, each with a client of its own. */
export class Doors implements Disposable {
  readonly #httpUrl: string;
  readonly #grpc: Client;

  constructor({ httpUrl, grpcAddress }: { readonly httpUrl: string; readonly grpcAddress: string }) {
    this.#httpUrl = httpUrl;
    this.#grpc = new Client(grpcAddress, credentials.createInsecure());
  }

  /** @param always headers of every call, which those of a call replace */
  through(name: DoorName, always: Readonly<Record<string, string>> = {}): Door {
    const door = {
      REST: this.#rest,
      Connect: this.#connect,
      gRPC: this.#grpcCall,
      "gRPC-web": this.#grpcWeb,
    }[name].bind(this);
    return (method, request = {}, headers = {}) => door(method, request, { ...always, ...headers });
  }

  [Symbol.dispose](): void {
    this.#grpc.close();
  }

  async #rest(method: DescMethod, request: JsonObject, headers: Readonly<Record<string, string>>): Promise<Said> {
    const { pattern, body } = getOption(method, httpRule);
    if (pattern.case === undefined || pattern.case === "custom") throw new TypeError(`${method.name} has no route`);
    const left = { ...request };
    const path = pattern.value.replace(/\{(\w+)\}/g, (_, field: string) => {
      const name = field.replace(/_(\w)/g, (_all, letter: string) => letter.toUpperCase());
      const value = left[name];
      delete left[name];
      return encodeURIComponent(String(value ?? "x"));
    });
    const url = new URL(path, this.#httpUrl);
    const init: RequestInit = { method: pattern.case.toUpperCase(), headers };
    if (body !== "") {
      init.body = JSON.stringify(left);
      init.headers = { "content-type": "application/json", ...headers };
    } else {
      for (const [name, value] of Object.entries(left)) {
        for (const one of [value].flat()) url.searchParams.append(name, String(one));
      }
    }
    const response = await fetch(url, init);
    const raw = await firstText(response, "\n\n");
    const said = { headers: Object.fromEntries(response.headers), raw };
    if (response.ok) {
      const sse = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
      if (!sse) return { code: "ok", message: "", answer: parse(raw), ...said };
      const event = parse(/^data: ?(.*)$/m.exec(raw)?.[1] ?? "{}");
      return { ...outcome(/^event: ?error$/m.test(raw) ? event : {}), answer: event, ...said };
    }
    return { ...outcome(parse(raw)), answer: {}, ...said };
  }

  async #connect(method: DescMethod, request: JsonObject, headers: Readonly<Record<string, string>>): Promise<Said> {
    const stream = method.methodKind !== "unary";
    const json = Buffer.from(JSON.stringify(request));
    const response = await fetch(`${this.#httpUrl}${pathOf(method)}`, {
      method: "POST",
      headers: { "content-type": stream ? "application/connect+json" : "application/json", ...headers },
      body: stream ? frame(json) : json,
    });
    const said = { headers: Object.fromEntries(response.headers) };
    if (!stream || !response.ok) {
      const raw = await response.text();
      const body = parse(raw);
      return { ...outcome(response.ok ? {} : body), answer: response.ok ? body : {}, raw, ...said };
    }
    const [first] = await firstFrames(response);
    const raw = first?.bytes.toString() ?? "";
    const body = parse(raw);
    const ended = ((first?.flags ?? 2) & 2) !== 0;
    return { ...outcome(ended ? body : {}), answer: ended ? {} : body, raw, ...said };
  }

  async #grpcWeb(method: DescMethod, request: JsonObject, headers: Readonly<Record<string, string>>): Promise<Said> {
    const response = await fetch(`${this.#httpUrl}${pathOf(method)}`, {
      method: "POST",
      headers: { "content-type": "application/grpc-web+proto", ...headers },
      body: frame(encode(method, request)),
    });
    if (!response.ok) {
      const raw = await response.text();
      return { ...outcome(parse(raw)), answer: {}, headers: Object.fromEntries(response.headers), raw };
    }
    const frames = await firstFrames(response);
    const all: Record<string, string> = Object.fromEntries(response.headers);
    let answer: JsonObject = {};
    for (const { flags, bytes } of frames) {
      if ((flags & 0x80) === 0) answer = decode(method, bytes);
      else
        for (const line of bytes.toString().split("\r\n"))
          all[line.split(":", 1)[0] ?? ""] = line.replace(/^[^:]*: ?/, "");
    }
    const status = Number(all["grpc-status"] ?? 0);
    const message = decodeURIComponent(all["grpc-message"] ?? "");
    const raw = Buffer.concat(frames.map(({ bytes }) => bytes)).toString("latin1");
    return { code: nameOf(status), message, answer, headers: all, raw };
  }

  #grpcCall(method: DescMethod, request: JsonObject, headers: Readonly<Record<string, string>>): Promise<Said> {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    const serialize = (value: JsonObject): Buffer => Buffer.from(encode(method, value));
    const receive = (bytes: Buffer): Buffer => bytes;
    return new Promise((resolve) => {
      const seen: Record<string, string> = {};
      const keep = (more: Metadata | undefined): void => {
        for (const [name, value] of Object.entries(more?.getMap() ?? {})) seen[name] = String(value);
      };
      const end = (error: ServiceError | null, bytes: Buffer | undefined): void => {
        keep(error?.metadata);
        resolve({
          code: nameOf(error?.code ?? 0),
          // The client leaves some of what it should decode.
          message: decodeURIComponent(error?.details ?? ""),
          answer: bytes === undefined ? {} : decode(method, bytes),
          headers: seen,
          raw: bytes?.toString("latin1") ?? "",
        });
      };
      const path = pathOf(method);
      if (method.methodKind === "unary") {
        this.#grpc.makeUnaryRequest(path, serialize, receive, request, metadata, end).on("metadata", keep);
        return;
      }
      // One message and an end is what every kind of stream takes.
      const call = this.#grpc.makeBidiStreamRequest(path, serialize, receive, metadata);
      call.write(request);
      call.end();
      call.on("metadata", keep);
      call.once("data", (bytes: Buffer) => {
        end(null, bytes);
        call.cancel();
      });
      // After the first message its end is of no interest.
      call.on("error", (error: ServiceError) => end(error, undefined));
      call.on("end", () => end(null, undefined));
    });
  }
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function encode(method: DescMethod, request: JsonObject): Uint8Array {
  return toBinary(method.input, fromJson(method.input, request));
}

function decode(method: DescMethod, bytes: Uint8Array): JsonObject {
  return toJson(method.output, fromBinary(method.output, bytes)) as JsonObject;
}

function parse(text: string): JsonObject {
  try {
    return JSON.parse(text) as JsonObject;
  } catch {
    return {};
  }
}

/** The error of REST's body or of Connect's. */
function outcome(body: JsonObject): { code: string; message: string } {
  const error = (typeof body["error"] === "object" ? body["error"] : body) as {
    code?: string;
    message?: string;
  } | null;
  return { code: error?.code ?? "ok", message: error?.message ?? "" };
}

const nameByNumber = new Map<number, ErrorCode>(
  (Object.entries(errorTable) as [ErrorCode, { grpc: number }][]).map(([name, { grpc }]) => [grpc, name]),
);

function nameOf(status: number): string {
  return status === 0 ? "ok" : (nameByNumber.get(status) ?? `status ${status}`);
}

function frame(bytes: Uint8Array): Buffer<ArrayBuffer> {
  const framed = Buffer.alloc(5 + bytes.length);
  framed.writeUInt32BE(bytes.length, 1);
  framed.set(bytes, 5);
  return framed;
}

/** Up to the first end mark of a text that may go on for ever. */
async function firstText(response: Response, mark: string): Promise<string> {
  if (response.headers.get("content-type")?.startsWith("text/event-stream") !== true) return response.text();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text.replace(/^:.*\n\n/gm, "").includes(mark)) break;
  }
  return text.replace(/^:.*\n\n/gm, "");
}

/** The frames of a whole answer, or the first ones of a stream. */
async function firstFrames(response: Response): Promise<{ flags: number; bytes: Buffer }[]> {
  const frames: { flags: number; bytes: Buffer }[] = [];
  let held = Buffer.alloc(0);
  for await (const chunk of response.body ?? []) {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 5 && held.length >= 5 + held.readUInt32BE(1)) {
      const size = held.readUInt32BE(1);
      frames.push({ flags: held.readUInt8(0), bytes: held.subarray(5, 5 + size) });
      held = held.subarray(5 + size);
    }
    // One message and its trailers come together, where there are trailers yet.
    if (frames.length > 0) break;
  }
  return frames;
}
