import type { DescMethod, DescService, Message } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextValues, type ContextValues, type HandlerContext } from "@connectrpc/connect";

/** Who calls, as the pipeline's `identify` hook says. */
export interface Identity {
  /** User id, or `anonymous`. */
  readonly subject: string;
  readonly email: string;
  readonly permissions: ReadonlySet<string>;
  /** Of an API token: only these queues and types; all when empty. */
  readonly queues: readonly string[];
  readonly types: readonly string[];
  /** Empty but for API tokens. */
  readonly tokenId: string;
  /** Empty but for sessions. */
  readonly sessionId: string;
}

export const anonymous: Identity = {
  subject: "anonymous",
  email: "",
  permissions: new Set(),
  queues: [],
  types: [],
  tokenId: "",
  sessionId: "",
};

/** Header values by lower-case name, as Node gives them; or a `Headers`, as Connect does. */
export type RawHeaders = Readonly<Record<string, string | string[] | undefined>> | Headers;

export interface CallInit {
  readonly method: DescMethod;
  /** `connect`, `grpc`, `grpc-web`, `rest`, `nats` or `direct`. */
  readonly protocolName: string;
  readonly requestMethod: string;
  /** Path, or absolute URL where the door has one. */
  readonly url: string;
  readonly headers: RawHeaders;
  /** IP address of the peer, where the door knows one. */
  readonly address?: string | undefined;
  /** Ends the call, counted from its start. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly values?: ContextValues | undefined;
  readonly responseHeader?: Headers;
  readonly responseTrailer?: Headers;
}

// A process-wide prefix and a counter: unique, and two hundred times cheaper than a random UUID a call.
const requestPrefix = crypto.randomUUID().replaceAll("-", "").slice(0, 12);
let requestCount = 0;
const requestIdPattern = /^[\x21-\x7e]{1,128}$/;

/**
 * One call, whatever its door. It is Connect's HandlerContext with identity, request id, trace and deadline. Everything
 * that a method may not ask for (Headers, AbortController, ids) is made on first use: most calls never pay for it.
 */
export class CallContext implements HandlerContext {
  readonly method: DescMethod;
  readonly protocolName: string;
  readonly requestMethod: string;
  readonly url: string;
  /** IP address of the peer; empty where the door knows none. */
  readonly address: string;
  /** On the clock of `performance.now()`. */
  readonly deadline: number | undefined;
  identity: Identity = anonymous;
  /** Identity, permission and rates were looked at already, before a large body. */
  isGuarded = false;
  /** The message, or the first of a stream; set before anything is checked where it is known by then. */
  request: Message | undefined;
  readonly #headers: RawHeaders;
  readonly #linked: AbortSignal | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #values: ContextValues | undefined;
  #controller: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #onLinkedAbort: (() => void) | undefined;
  #aborted: { readonly reason: unknown } | undefined;
  #requestId: string | undefined;

  constructor(init: CallInit) {
    this.method = init.method;
    this.protocolName = init.protocolName;
    this.requestMethod = init.requestMethod;
    this.url = init.url;
    this.address = init.address ?? "";
    this.#headers = init.headers;
    this.#linked = init.signal;
    this.#values = init.values;
    this.#responseHeader = init.responseHeader;
    this.#responseTrailer = init.responseTrailer;
    this.deadline = init.timeoutMs === undefined ? undefined : performance.now() + init.timeoutMs;
  }

  get service(): DescService {
    return this.method.parent;
  }

  /** One request header by lower-case name, without building a Headers object. */
  header(name: string): string | undefined {
    if (this.#headers instanceof Headers) return this.#headers.get(name) ?? undefined;
    const value = this.#headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  get requestHeader(): Headers {
    if (this.#requestHeader !== undefined) return this.#requestHeader;
    if (this.#headers instanceof Headers) return (this.#requestHeader = this.#headers);
    const headers = new Headers();
    for (const [name, value] of Object.entries(this.#headers)) {
      if (value === undefined || name.startsWith(":")) continue;
      if (Array.isArray(value)) for (const one of value) headers.append(name, one);
      else headers.append(name, value);
    }
    return (this.#requestHeader = headers);
  }

  get responseHeader(): Headers {
    return (this.#responseHeader ??= new Headers());
  }

  get responseTrailer(): Headers {
    return (this.#responseTrailer ??= new Headers());
  }

  /** What the method has set, or undefined when it has not asked for the header. */
  get responseHeaderIfSet(): Headers | undefined {
    return this.#responseHeader;
  }

  get responseTrailerIfSet(): Headers | undefined {
    return this.#responseTrailer;
  }

  get values(): ContextValues {
    return (this.#values ??= createContextValues());
  }

  /** The caller's `x-request-id` where it is sane, else one of ours. */
  get requestId(): string {
    if (this.#requestId !== undefined) return this.#requestId;
    const given = this.header("x-request-id");
    if (given !== undefined && requestIdPattern.test(given)) return (this.#requestId = given);
    requestCount += 1;
    return (this.#requestId = `${requestPrefix}-${requestCount.toString(36)}`);
  }

  /** W3C trace context of the caller. */
  get traceparent(): string | undefined {
    return this.header("traceparent");
  }

  /** Milliseconds left, or undefined without a deadline. */
  timeoutMs(): number | undefined {
    return this.deadline === undefined ? undefined : Math.max(0, this.deadline - performance.now());
  }

  /** Aborted when the caller goes away, the deadline passes, or the call has ended. */
  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const controller = (this.#controller = new AbortController());
    if (this.#aborted !== undefined) {
      controller.abort(this.#aborted.reason);
      return controller.signal;
    }
    const linked = this.#linked;
    if (linked?.aborted) {
      controller.abort(linked.reason);
    } else {
      if (linked !== undefined) {
        this.#onLinkedAbort = () => this.abort(linked.reason);
        linked.addEventListener("abort", this.#onLinkedAbort, { once: true });
      }
      const left = this.timeoutMs();
      if (left !== undefined) this.#timer = setTimeout(() => this.abort(deadlineExceeded()), left);
    }
    return controller.signal;
  }

  /** Ends the call from outside; only the first reason counts. */
  abort(reason: unknown): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = { reason };
    this.#release();
    this.#controller?.abort(reason);
  }

  /** Releases timers and listeners, and tells what the method has left running that the call is over. */
  finish(): void {
    // An error costs a stack trace: one is made only for a method that has asked for the signal.
    if (this.#controller === undefined) this.#aborted ??= ended;
    else this.abort(new ConnectError("the call has ended", Code.Canceled));
  }

  #release(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    if (this.#onLinkedAbort !== undefined) this.#linked?.removeEventListener("abort", this.#onLinkedAbort);
  }
}

const ended = { reason: new ConnectError("the call has ended", Code.Canceled) };

/** Same words as Connect's own. */
export function deadlineExceeded(): ConnectError {
  return new ConnectError("the operation timed out", Code.DeadlineExceeded);
}

/** The call behind a HandlerContext that a method was given by the pipeline. */
export function callOf(context: HandlerContext): CallContext {
  if (context instanceof CallContext) return context;
  throw new TypeError("this context was not made by a Millrace pipeline");
}
