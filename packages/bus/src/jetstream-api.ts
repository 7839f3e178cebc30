import { BusError, apiError, isRefusedForNow } from "./bus-error.ts";
import { JsonObject } from "./json.ts";
import type { Link } from "./link.ts";
import { backoffMs, pause } from "./pause.ts";
import type { RequestMux } from "./request-mux.ts";

const requestTimeoutMs = 5000;
/** Of a cluster without a leader comes no answer, and none later to what was asked meanwhile: so it is asked again. */
const askAgainMs = 1000;
/** What changes nothing. Of a change no second request may be under way when the caller goes on: it might undo what came next. */
const reads = /^(INFO|STREAM\.INFO|STREAM\.MSG\.GET|CONSUMER\.INFO|CONSUMER\.LIST)(\.|$)/;
/** While JetStream starts, nobody listens on its subjects for a moment. */
const startupMs = 10_000;
const encoder = new TextEncoder();

/** Requests to `$JS.API`, answers as JSON. Only what 2.9 knows is sent; callers check `features` for more. */
export class JetStreamApi {
  readonly link: Link;
  readonly mux: RequestMux;

  readonly #patienceMs: number;

  constructor(link: Link, mux: RequestMux, patienceMs = startupMs) {
    this.link = link;
    this.mux = mux;
    this.#patienceMs = patienceMs;
  }

  /** The same with another bound on how long it tries again. */
  withPatience(patienceMs: number): JetStreamApi {
    return new JetStreamApi(this.link, this.mux, patienceMs);
  }

  /** @throws BusError by JetStream's own error, or as RequestMux.request does */
  async request(subject: string, body: object | undefined, timeoutMs = requestTimeoutMs): Promise<JsonObject> {
    const { namespace } = this.link;
    const named = body === undefined || namespace === undefined ? body : namespace.request(body);
    const data = named === undefined ? new Uint8Array(0) : encoder.encode(JSON.stringify(named));
    const answer = await this.mux.request(`$JS.API.${subject}`, data, { timeoutMs });
    const json = JsonObject.parse(answer.data);
    if (json.has("error")) {
      const error = json.object("error");
      throw apiError(subject, {
        code: error.number("code"),
        natsCode: error.number("err_code"),
        description: error.string("description"),
      });
    }
    return namespace === undefined ? json : new JsonObject(namespace.answer(json.raw()));
  }

  /**
   * As `request`; in a cluster asked again each second for as long as no answer comes, and the first answer to any of them counts, so
   * that a leader is heard soon after its election, and a slow one all the same. For what only reads, or may be done again later.
   */
  async ask(subject: string, body: object | undefined): Promise<JsonObject> {
    const first = this.request(subject, body);
    if (this.link.client.info?.cluster === undefined) return await first;
    const asked = [first];
    using stack = new DisposableStack();
    const over = stack.adopt(new AbortController(), (controller) => controller.abort());
    while (asked.length < requestTimeoutMs / askAgainMs) {
      const later = pause(askAgainMs, { signal: over.signal }).then(() => undefined);
      const answer = await Promise.race([...asked, later]);
      if (answer !== undefined) return answer;
      asked.push(this.request(subject, body));
    }
    return await Promise.race(asked);
  }

  /** As `request`, or as `ask` where it only reads, tried again while the broker is starting or away. For what may be done twice. */
  async requestPatiently(subject: string, body: object | undefined): Promise<JsonObject> {
    const deadline = Date.now() + this.#patienceMs;
    for (let failures = 0; ; failures++) {
      try {
        if (reads.test(subject)) return await this.ask(subject, body);
        const inCluster = this.link.client.info?.cluster !== undefined;
        const timeoutMs = inCluster ? Math.min(requestTimeoutMs, askAgainMs * 2 ** failures) : requestTimeoutMs;
        return await this.request(subject, body, timeoutMs);
      } catch (error) {
        const passing =
          error instanceof BusError &&
          (error.code === "unavailable" || error.code === "deadline_exceeded" || isRefusedForNow(error));
        if (!passing || Date.now() >= deadline || this.link.closed) throw error;
        await pause(backoffMs(failures, 50, 1000));
      }
    }
  }

  /** As `requestPatiently`, undefined when the stream or consumer does not exist. */
  async find(subject: string, body?: object): Promise<JsonObject | undefined> {
    try {
      return await this.requestPatiently(subject, body);
    } catch (error) {
      if (error instanceof BusError && error.code === "not_found") return undefined;
      throw error;
    }
  }
}
