import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { Exchange, ReplyHeaders } from "./exchange.ts";

/**
 * Serves application/grpc-web-text, which Connect's handlers do not know: takes the base64 off the request, has the
 * binary handler answer, and puts it on each piece of the answer.
 */
export async function serveGrpcWebText(handler: UniversalHandler, exchange: Exchange): Promise<void> {
  const abort = new AbortController();
  exchange.onGone(() => abort.abort());
  const header = new Headers();
  for (const [name, value] of Object.entries(exchange.headers)) {
    if (value !== undefined && !name.startsWith(":")) header.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  const type = header.get("content-type") ?? "";
  header.set("content-type", type.replace(/grpc-web-text/i, "grpc-web"));
  let answer: UniversalServerResponse;
  try {
    answer = await handler({
      httpVersion: exchange.httpVersion === 1 ? "1.1" : "2.0",
      url: `http://localhost${exchange.path}`,
      method: exchange.verb,
      header,
      body: decodeBase64(exchange.bodyChunks()),
      signal: abort.signal,
    });
  } catch {
    exchange.reply(500, {}, "");
    return;
  }
  const headers: ReplyHeaders = {};
  answer.header?.forEach((value, name) => {
    headers[name] = name === "content-type" ? value.replace("grpc-web", "grpc-web-text") : value;
  });
  if (answer.body === undefined) {
    exchange.reply(answer.status, headers, "");
    return;
  }
  try {
    exchange.open(answer.status, headers);
    for await (const chunk of answer.body) {
      if (!(await exchange.write(Buffer.from(chunk).toString("base64")))) break;
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
