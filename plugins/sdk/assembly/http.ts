import { putBytes, putText, takeBytes, takeText } from "./host-memory";
import { JsonReader, quote } from "./json";

@external("millrace:host/http", "request")
declare function http_request(request: u64, body: u64): u64;
@external("millrace:host/http", "last_body")
declare function http_last_body(): u64;

export class HttpRequest {
  method: string = "GET";
  headers: Map<string, string> = new Map();
  body: Uint8Array | null = null;

  constructor(public url: string) {}
}

export class HttpResponse {
  constructor(
    public status: i32,
    /** By name in lower case. */
    public headers: Map<string, string>,
    public body: Uint8Array,
  ) {}

  text(): string {
    return String.UTF8.decode(this.body.buffer);
  }
}

/** Takes the capability `http`, with the host of the URL and of each redirect. */
export class Http {
  /** Null when no answer came: HostError.last() says why. An answer of any status is an answer. */
  static send(request: HttpRequest): HttpResponse | null {
    const names = request.headers.keys();
    let headers = "";
    for (let i = 0; i < names.length; i++) {
      headers += (i > 0 ? "," : "") + quote(names[i]) + ":" + quote(request.headers.get(names[i]));
    }
    const head = '{"method":' + quote(request.method) + ',"url":' + quote(request.url) + ',"headers":{' + headers + "}}";
    const body = request.body;
    const address = http_request(putText(head), body === null ? 0 : putBytes(body));
    if (address == 0) return null;
    const answer = new JsonReader(takeText(address)).read();
    const answered = new Map<string, string>();
    const fields = answer.get("headers");
    if (fields !== null) {
      for (let i = 0; i < fields.keys.length; i++) answered.set(fields.keys[i], fields.items[i].text);
    }
    return new HttpResponse(<i32>answer.numberOr("status", 0), answered, takeBytes(http_last_body()));
  }

  static get(url: string): HttpResponse | null {
    return Http.send(new HttpRequest(url));
  }
}
