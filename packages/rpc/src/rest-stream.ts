import type { Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { BodyWatch } from "./body-watch.ts";
import type { CallContext } from "./call-context.ts";
import { tooLarge } from "./collect-body.ts";
import { type Exchange } from "./exchange.ts";
import { one } from "./one.ts";
import type { Pipeline } from "./pipeline.ts";
import { replyError, replyMessage } from "./rest-reply.ts";
import { decodeRestLine, stringField } from "./rest-request.ts";
import type { RestRoute } from "./rest-routes.ts";
import { errorBody, toConnectError } from "./rpc-error.ts";
import { lineEnds, wholeMessages } from "./whole-messages.ts";

const keepAliveMs = 15_000;
// An error in this time still gets its own status; later the stream is open and the error is an event.
const firstWordMs = 250;
// The field of a streamed message that becomes the event's id.
const positionField = "position";

/** Serves a server stream as Server-Sent Events, or as JSON lines where the caller asks for them. */
export async function serveEventStream(
  pipeline: Pipeline,
  route: RestRoute,
  exchange: Exchange,
  call: CallContext,
  request: Message,
): Promise<void> {
  const lines = String(exchange.headers["accept"] ?? "").includes("application/x-ndjson");
  const output = route.method.desc.output;
  exchange.onGone(() => call.abort(new ConnectError("the caller went away", Code.Canceled)));
  const iterator = pipeline.stream(route.method, one(request), call)[Symbol.asyncIterator]();
  let opened = false;
  const open = () => {
    if (opened) return;
    opened = true;
    exchange.open(200, {
      "content-type": lines ? "application/x-ndjson" : "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
      "x-request-id": call.requestId,
    });
    if (!lines) void exchange.write(": open\n\n");
  };
  const opener = setTimeout(open, firstWordMs);
  const keepAlive = setInterval(() => {
    // A comment behind a backlog would only make it longer.
    if (opened && !lines && exchange.backlogBytes === 0) void exchange.write(": keep-alive\n\n");
  }, keepAliveMs);
  try {
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      open();
      const json = route.method.output.encodeJson(next.value);
      const id = lines ? undefined : stringField(next.value, output, positionField);
      if (!(await exchange.write(lines ? `${json}\n` : eventText(json, id)))) break;
    }
    open();
    if (!lines) await exchange.write("event: end\ndata: {}\n\n");
    exchange.end();
  } catch (reason) {
    const error = toConnectError(reason);
    if (opened) {
      const body = JSON.stringify(errorBody(error, call.requestId));
      await exchange.write(lines ? `${body}\n` : `event: error\ndata: ${body}\n\n`);
      exchange.end();
    } else {
      replyError(exchange, call, error);
    }
  } finally {
    clearTimeout(opener);
    clearInterval(keepAlive);
    await iterator.return?.();
  }
}

function eventText(json: string, id: string | undefined): string {
  // An id with a line break would be a second field of the event.
  const head = id === undefined || /[\r\n\0]/.test(id) ? "" : `id: ${id}\n`;
  return `${head}data: ${json}\n\n`;
}

/** Serves a client stream from newline-delimited JSON; each line is one message, read as fast as the method takes it. */
export async function serveUpload(
  pipeline: Pipeline,
  route: RestRoute,
  exchange: Exchange,
  call: CallContext,
  bodies: BodyWatch | undefined,
): Promise<void> {
  exchange.onGone(() => call.abort(new ConnectError("the caller went away", Code.Canceled)));
  const chunks = wholeMessages(exchange.bodyChunks(), lineEnds(route.method.readMaxBytes), bodies);
  try {
    let answer: Message | undefined;
    for await (const message of pipeline.stream(route.method, readLines(route, chunks), call)) answer = message;
    if (answer === undefined) throw new ConnectError("the method gave no answer", Code.Internal);
    replyMessage(exchange, call, route, answer);
  } catch (reason) {
    const error = toConnectError(reason);
    replyError(
      exchange,
      call,
      error,
      error.code === Code.ResourceExhausted && error.rawMessage.startsWith("message size"),
    );
  }
}

async function* readLines(route: RestRoute, chunks: AsyncIterable<Uint8Array>): AsyncIterable<Message> {
  const { readMaxBytes, desc } = route.method;
  const decoder = new TextDecoder();
  let rest = "";
  let number = 0;
  for await (const chunk of chunks) {
    const pieces = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = pieces.pop() ?? "";
    for (const line of pieces) {
      number += 1;
      if (Buffer.byteLength(line) > readMaxBytes)
        throw new ConnectError(tooLarge(readMaxBytes), Code.ResourceExhausted);
      if (line.trim() !== "") yield decodeRestLine(desc.input, line, number);
    }
    if (Buffer.byteLength(rest) > readMaxBytes) throw new ConnectError(tooLarge(readMaxBytes), Code.ResourceExhausted);
  }
  if (rest.trim() !== "") yield decodeRestLine(desc.input, rest, number + 1);
}
