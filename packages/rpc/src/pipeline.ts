import { create, type DescMethod, type DescService, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { anonymous, deadlineExceeded, type CallContext, type Identity } from "./call-context.ts";
import { createCodec, type Codec } from "./codec.ts";
import { only } from "./one.ts";
import { toConnectError } from "./rpc-error.ts";
import { createMessageValidator } from "./validation.ts";

/** A service of the contract with the object that implements it. */
export type ServiceBinding = readonly [service: DescService, impl: Partial<ServiceImpl<DescService>>];

/** Ties an implementation to its service, with the types checked. */
export function bindService<S extends DescService>(service: S, impl: ServiceImpl<S>): ServiceBinding {
  return [service, impl as unknown as Partial<ServiceImpl<DescService>>];
}

export interface PipelineLimits {
  /** A request message larger than this is refused before it is parsed. */
  readonly readMaxBytes: number;
  /** Other bounds for some methods, by `/package.Service/Method`. */
  readonly methodReadMaxBytes: Readonly<Record<string, number>>;
  /** A longer timeout than this is refused. */
  readonly maxTimeoutMs: number;
  /** Unary calls running at once; above it callers get `unavailable`. */
  readonly maxInFlight: number;
  /** Streams open at once; above it callers get `unavailable`. */
  readonly maxStreams: number;
}

export const defaultPipelineLimits: PipelineLimits = {
  readMaxBytes: 8 * 1024 * 1024,
  methodReadMaxBytes: {},
  maxTimeoutMs: 24 * 60 * 60 * 1000,
  maxInFlight: 10_000,
  maxStreams: 5_000,
};

/** Told of every call; must not throw. */
export interface CallObserver {
  started?(call: CallContext): void;
  ended?(call: CallContext, error: ConnectError | undefined, durationMs: number): void;
  /** A call was refused for how many there are; nothing else is told of it. */
  overloaded?(): void;
}

export interface PipelineOptions {
  readonly services: readonly ServiceBinding[];
  readonly limits?: Partial<PipelineLimits>;
  /** Who calls; `anonymous` without this hook. Throws `unauthenticated`. */
  readonly identify?: (call: CallContext) => Identity | Promise<Identity>;
  /** Throws `permission_denied`. */
  readonly authorize?: (call: CallContext) => void | Promise<void>;
  /** Rate limits and the like; throws `resource_exhausted`. */
  readonly admit?: (call: CallContext) => void | Promise<void>;
  /** Looks at each valid request message, of streams too; throws `permission_denied` or `resource_exhausted`. */
  readonly permit?: (call: CallContext, request: Message) => void | Promise<void>;
  /** Told of each stream whose caller was let in, which it may end by `abort`; what it gives is disposed with the stream. */
  readonly follow?: (call: CallContext) => Disposable;
  readonly observer?: CallObserver;
  /** Runs a unary method inside a span. */
  readonly trace?: (call: CallContext, run: () => Message | Promise<Message>) => Message | Promise<Message>;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
}

type UnaryFn = (request: Message, call: CallContext) => Message | Promise<Message>;
type ClientStreamFn = (requests: AsyncIterable<Message>, call: CallContext) => Promise<Message>;
type ServerStreamFn = (request: Message, call: CallContext) => AsyncIterable<Message>;
type BidiFn = (requests: AsyncIterable<Message>, call: CallContext) => AsyncIterable<Message>;

/** One method, with all that is compiled once for it. */
export interface PipelineMethod {
  readonly desc: DescMethod;
  /** `/package.Service/Method` */
  readonly path: string;
  /** Bound on one request message. */
  readonly readMaxBytes: number;
  readonly input: Codec;
  readonly output: Codec;
}

interface BoundMethod extends PipelineMethod {
  readonly validate: ((message: Message) => void) | undefined;
  readonly run: unknown;
}

/** What stands before every method, whatever the door: identity, permission, limits, validation, method. */
export interface Pipeline {
  readonly services: readonly DescService[];
  readonly limits: PipelineLimits;
  /** By `/package.Service/Method`. */
  readonly methods: ReadonlyMap<string, PipelineMethod>;
  /** Calls and streams that run. */
  readonly inFlight: number;
  /**
   * Decides on a call before the rest of a large body is read: nobody makes us collect and parse for strangers.
   * @throws ConnectError as the method would answer
   */
  gate(call: CallContext): void | Promise<void>;
  /**
   * Runs a unary method on a decoded request. Answers synchronously where the method does; throws or rejects with a
   * ConnectError only.
   */
  unary(method: PipelineMethod, request: Message, call: CallContext): Message | Promise<Message>;
  /** Runs any method on a stream of decoded requests; throws ConnectErrors only. Unary methods are a stream of one. */
  stream(method: PipelineMethod, requests: AsyncIterable<Message>, call: CallContext): AsyncIterable<Message>;
}

export function createPipeline(options: PipelineOptions): Pipeline {
  const limits = { ...defaultPipelineLimits, ...options.limits };
  const { identify, authorize, admit, permit, follow, observer, trace } = options;
  const now = options.now ?? (() => performance.now());
  const methods = new Map<string, BoundMethod>();
  for (const [service, impl] of options.services) {
    for (const method of service.methods) {
      const path = `/${service.typeName}/${method.name}`;
      const run = (impl as Readonly<Record<string, ((...input: never[]) => unknown) | undefined>>)[method.localName];
      methods.set(path, {
        desc: method,
        path,
        readMaxBytes: limits.methodReadMaxBytes[path] ?? limits.readMaxBytes,
        input: createCodec(method.input),
        output: createCodec(method.output),
        validate: createMessageValidator(method.input),
        run: run === undefined ? unimplemented(path) : run.bind(impl),
      });
    }
  }
  let unaryCount = 0;
  let streamCount = 0;

  // Synchronous wherever the hooks are: a call whose caller is known must not wait for a turn of the event loop.
  function guard(call: CallContext): void | Promise<void> {
    const identity = identify === undefined ? anonymous : identify(call);
    if (isPromise(identity)) {
      return identity.then((known) => {
        call.identity = known;
        return check(call);
      });
    }
    call.identity = identity;
    return check(call);
  }

  function gate(call: CallContext): void | Promise<void> {
    const refuse = (reason: unknown): never => {
      const error = toConnectError(reason);
      observer?.started?.(call);
      observer?.ended?.(call, error, 0);
      call.finish();
      throw error;
    };
    const pass = (): void => void (call.isGuarded = true);
    try {
      const passed = guard(call);
      return passed === undefined ? pass() : passed.then(pass, refuse);
    } catch (reason) {
      refuse(reason);
    }
  }

  function check(call: CallContext): void | Promise<void> {
    const authorized = authorize?.(call);
    return authorized === undefined ? admit?.(call) : authorized.then(() => admit?.(call));
  }

  function invoke(method: BoundMethod, request: Message, call: CallContext): Message | Promise<Message> {
    method.validate?.(request);
    const permitted = permit?.(call, request);
    return permitted === undefined ? run(method, request, call) : permitted.then(() => run(method, request, call));
  }

  function run(method: BoundMethod, request: Message, call: CallContext): Message | Promise<Message> {
    const fn = method.run as UnaryFn;
    return trace === undefined ? fn(request, call) : trace(call, () => fn(request, call));
  }

  function guarded(method: BoundMethod, request: Message, call: CallContext): Message | Promise<Message> {
    const passed = call.isGuarded ? undefined : guard(call);
    return passed === undefined ? invoke(method, request, call) : passed.then(() => invoke(method, request, call));
  }

  function unary(method: BoundMethod, request: Message, call: CallContext): Message | Promise<Message> {
    if (unaryCount >= limits.maxInFlight) {
      observer?.overloaded?.();
      throw overloaded();
    }
    const startedAt = observer === undefined ? 0 : now();
    observer?.started?.(call);
    unaryCount += 1;
    call.request = request;
    let result: Message | Promise<Message>;
    try {
      result = guarded(method, request, call);
    } catch (reason) {
      throw settle(call, startedAt, toConnectError(reason));
    }
    if (!isPromise(result)) {
      settle(call, startedAt, undefined);
      return complete(method, result);
    }
    return untilDeadline(result, call).then(
      (message) => {
        settle(call, startedAt, undefined);
        return complete(method, message);
      },
      (reason: unknown) => {
        throw settle(call, startedAt, toConnectError(reason));
      },
    );
  }

  function settle<E extends ConnectError | undefined>(call: CallContext, startedAt: number, error: E): E {
    unaryCount -= 1;
    observer?.ended?.(call, error, now() - startedAt);
    call.finish();
    return error;
  }

  async function* stream(
    method: BoundMethod,
    requests: AsyncIterable<Message>,
    call: CallContext,
  ): AsyncIterable<Message> {
    if (streamCount >= limits.maxStreams) {
      observer?.overloaded?.();
      throw overloaded();
    }
    const startedAt = now();
    observer?.started?.(call);
    streamCount += 1;
    let error: ConnectError | undefined;
    try {
      if (!call.isGuarded) await guard(call);
      using _followed = follow?.(call);
      const input = validated(method, requests, call);
      const output = openStream(method, input, call);
      for await (const message of untilAborted(output, call.signal)) yield complete(method, message);
    } catch (reason) {
      error = toConnectError(reason);
      throw error;
    } finally {
      streamCount -= 1;
      observer?.ended?.(call, error, now() - startedAt);
      call.finish();
    }
  }

  async function* validated(
    method: BoundMethod,
    requests: AsyncIterable<Message>,
    call: CallContext,
  ): AsyncIterable<Message> {
    for await (const request of requests) {
      call.request ??= request;
      method.validate?.(request);
      await permit?.(call, request);
      yield request;
    }
  }

  return {
    services: options.services.map(([service]) => service),
    limits,
    methods,
    get inFlight() {
      return unaryCount + streamCount;
    },
    gate,
    unary: (method, request, call) => unary(method as BoundMethod, request, call),
    stream: (method, requests, call) => stream(method as BoundMethod, requests, call),
  };
}

// Method implementations may give a plain object; what leaves the pipeline is always a whole message.
function complete(method: BoundMethod, message: Message): Message {
  return message.$typeName === undefined ? create(method.desc.output, message) : message;
}

async function* openStream(
  method: BoundMethod,
  requests: AsyncIterable<Message>,
  call: CallContext,
): AsyncIterable<Message> {
  switch (method.desc.methodKind) {
    case "unary":
      yield await (method.run as UnaryFn)(await only(requests), call);
      return;
    case "server_streaming":
      yield* (method.run as ServerStreamFn)(await only(requests), call);
      return;
    case "client_streaming":
      yield await (method.run as ClientStreamFn)(requests, call);
      return;
    case "bidi_streaming":
      yield* (method.run as BidiFn)(requests, call);
  }
}

// A method that does not look at its signal must still not hold its caller past the deadline.
function untilDeadline(result: Promise<Message>, call: CallContext): Promise<Message> {
  const left = call.timeoutMs();
  if (left === undefined) return result;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      const error = deadlineExceeded();
      call.abort(error);
      reject(error);
    }, left);
    result.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Ends the iteration with the signal's reason even while the source is waiting. */
async function* untilAborted(source: AsyncIterable<Message>, signal: AbortSignal): AsyncIterable<Message> {
  const iterator = source[Symbol.asyncIterator]();
  // One listener for the whole stream: a race per message would leave a reaction behind for each.
  let fail: ((reason: unknown) => void) | undefined;
  const onAbort = () => fail?.(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  let done = false;
  try {
    while (true) {
      if (signal.aborted) throw toConnectError(signal.reason);
      const next = await new Promise<IteratorResult<Message>>((resolve, reject) => {
        fail = reject;
        iterator.next().then(resolve, (reason: unknown) => {
          done = true;
          reject(reason);
        });
      });
      if (next.done === true) {
        done = true;
        return;
      }
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    // Not awaited: a source that hangs would hang the caller; its error has no one to go to.
    if (!done) void iterator.return?.().then(undefined, () => {});
  }
}

function unimplemented(path: string) {
  return () => {
    throw new ConnectError(`${path.slice(1)} is not implemented`, Code.Unimplemented);
  };
}

function overloaded(): ConnectError {
  const error = new ConnectError("too many calls at once", Code.Unavailable);
  error.metadata.set("retry-after", "1");
  return error;
}

function isPromise<T extends object>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as Promise<T>).then === "function";
}
