import type { DescMessage } from "@bufbuild/protobuf";
import { createContextValues } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { watchedBody, type BodyWatch } from "./body-watch.ts";
import { peerAddress } from "./connect-handlers.ts";
import { envelopeEnds, wholeMessages } from "./whole-messages.ts";
import { plainMessages } from "./plain-messages.ts";
import { addHeaders, type Exchange, type ReplyHeaders } from "./exchange.ts";

export interface UniversalCall {
  readonly handler: UniversalHandler;
  readonly exchange: Exchange;
  /** Bounds the body, or of an upload each message of it. */
  readonly bodies: BodyWatch | undefined;
  /** The caller may take its time between messages. */
  readonly upload: boolean;
  readonly readMaxBytes: number;
  /** Of the messages that come. */
  readonly input: DescMessage;
}

const webText = /grpc-web-text/i;

/**
 * Serves an exchange by one of Connect's handlers. The base64 of application/grpc-web-text is taken off the request here, and
 * put on each piece of the answer.
 */
export async function serveUniversal({
  handler,
  exchange,
  bodies,
  upload,
  readMaxBytes,
  input,
}: UniversalCall): Promise<void> {
  const abort = new AbortController();
  exchange.onGone(() => abort.abort());
  const header = new Headers();
  for (const [name, value] of Object.entries(exchange.headers)) {
    if (value !== undefined && !name.startsWith(":")) header.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  const type = header.get("content-type") ?? "";
  const text = webText.test(type);
  if (text) header.set("content-type", type.replace(webText, "grpc-web"));
  const chunks = bodies === undefined || upload ? exchange.bodyChunks() : watchedBody(exchange.bodyChunks(), bodies);
  const body = text ? decodeBase64(chunks) : chunks;
  let answer: UniversalServerResponse;
  try {
    answer = await handler({
      // Connect refuses streams both ways over HTTP/1.1, which is what it takes all methods for.
      httpVersion: "2.0",
      url: `http://localhost${exchange.path}${exchange.query === "" ? "" : `?${exchange.query}`}`,
      method: exchange.verb,
      header,
      body: plainMessages(wholeMessages(body, envelopeEnds(readMaxBytes), upload ? bodies : undefined), {
        desc: input,
        binary: !type.includes("json"),
        encoding: header.get("grpc-encoding") ?? header.get("connect-content-encoding"),
        readMaxBytes,
      }),
      signal: abort.signal,
      contextValues: createContextValues().set(peerAddress, exchange.address),
    });
  } catch {
    exchange.reply(500, {}, "");
    return;
  }
  const headers: ReplyHeaders = {};
  if (answer.header !== undefined) addHeaders(headers, answer.header);
  const { "content-type": replyType } = headers;
  if (text && typeof replyType === "string") headers["content-type"] = replyType.replace("grpc-web", "grpc-web-text");
  // Whole only when the body has ended.
  const { trailer } = answer;
  const trailers = trailer === undefined ? undefined : (): ReplyHeaders => Object.fromEntries(trailer);
  if (answer.body === undefined) {
    exchange.reply(answer.status, headers, "", trailers?.());
    return;
  }
  try {
    exchange.open(answer.status, headers, trailers);
    for await (const chunk of answer.body) {
      if (!(await exchange.write(text ? Buffer.from(chunk).toString("base64") : chunk))) break;
    }
  } catch {
    abort.abort(); // the peer went away in mid-answer; the method hears of it by its signal
  } finally {
    exchange.end();
  }
}

async function* decodeBase64(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let rest = "";
  for await (const chunk of chunks) {
    const text = rest + Buffer.from(chunk).toString("latin1");
    const whole = text.length - (text.length % 4);
    rest = text.slice(whole);
    // Padding may stand in the middle: each flush of the client is base64 of its own.
    for (const piece of text.slice(0, whole).match(/[^=]+=*/g) ?? []) yield Buffer.from(piece, "base64");
  }
  if (rest !== "") yield Buffer.from(rest, "base64");
}
