import { MethodOptions_IdempotencyLevel as Idempotency } from "@bufbuild/protobuf/wkt";
import type { DescMethod } from "@bufbuild/protobuf";
import {
  bulkhead,
  circuitBreaker,
  CircuitState,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleWhen,
  isBrokenCircuitError,
  isBulkheadRejectedError,
  isTaskCancelledError,
  noop,
  retry,
  wrap,
  type BulkheadPolicy,
  type IPolicy,
} from "cockatiel";
import { LogService, PluginService } from "@millrace/protocol";
import { Code, ConnectError, type RpcTransport } from "@millrace/rpc";
import type { Metrics } from "@millrace/service-kit";

export interface ResilienceLimits {
  /** Unary calls to one service at once, and streams that are being opened: one that hangs must leave room for the others. */
  readonly maxPerService: number;
  /** So many failures in a row, and a method is not called for a while. */
  readonly failuresToOpen: number;
  /** Then one call tries, ms. */
  readonly openMs: number;
  /** Of calls whose caller gives none, ms; what a call waits for by its own wish comes on top. */
  readonly timeoutMs: number;
  /** Of calls that move plugins, which workers and hooks have a say in, and of repairs, ms. */
  readonly longTimeoutMs: number;
  /** A stream that is accepted and has not failed for so long is open, ms; it may be silent for hours. */
  readonly streamSilenceMs: number;
}

export const defaultResilience: ResilienceLimits = {
  maxPerService: 5_000,
  failuresToOpen: 20,
  openMs: 1_000,
  timeoutMs: 20_000,
  longTimeoutMs: 60_000,
  streamSilenceMs: 1_000,
};

/** What a plugin may take that is called from outside without a bound. */
const mostPluginCallMs = 60_000;
const retries = { maxAttempts: 2, initialDelay: 20, maxDelay: 200 };

type Meters = Pick<Metrics, "upstreamRetries" | "upstreamRejections" | "upstreamOpen">;

/**
 * Calls services with bounds: a bulkhead for each service, a breaker for each method (the database may be away, which ends
 * reads and not submissions), a timeout, and retries of what changes nothing. Of a stream this holds until its first message,
 * without retries: who follows one knows where to go on.
 */
export function createResilientTransport(
  transport: RpcTransport,
  metrics: Meters,
  limits: ResilienceLimits = defaultResilience,
): RpcTransport {
  const bulkheads = new Map<string, BulkheadPolicy>();
  const policies = new Map<DescMethod, IPolicy>();
  const late = new WeakSet<object>();

  function policyOf(method: DescMethod): IPolicy {
    let policy = policies.get(method);
    if (policy === undefined) policies.set(method, (policy = createPolicy(method)));
    return policy;
  }

  function createPolicy(method: DescMethod): IPolicy {
    const service = method.parent.typeName;
    let room = bulkheads.get(service);
    if (room === undefined) bulkheads.set(service, (room = bulkhead(limits.maxPerService)));
    const breaker = circuitBreaker(handleWhen(isAway), {
      breaker: new ConsecutiveBreaker(limits.failuresToOpen),
      halfOpenAfter: limits.openMs,
    });
    let open = false;
    breaker.onStateChange((state) => {
      // Half open is not called either, but for one.
      if (open !== (state !== CircuitState.Closed)) metrics.upstreamOpen.labels({ service }).inc(open ? -1 : 1);
      open = state !== CircuitState.Closed;
    });
    if (method.methodKind !== "unary" || !isRepeatable(method)) return wrap(room, breaker, noop);
    // What has used up its time is not asked for again.
    const again = retry(
      handleWhen((reason) => isAway(reason) && !late.has(reason)),
      {
        maxAttempts: retries.maxAttempts,
        backoff: new ExponentialBackoff(retries),
      },
    );
    again.onRetry(() => metrics.upstreamRetries.labels({ service }).inc());
    return wrap(room, again, breaker);
  }

  function refused(service: string, reason: unknown, signal: AbortSignal | undefined): unknown {
    // The call was over before it began: its deadline had passed, or its caller had gone.
    if (isTaskCancelledError(reason)) {
      return signal?.reason instanceof ConnectError
        ? signal.reason
        : new ConnectError("the call was aborted", Code.Canceled, undefined, undefined, reason);
    }
    const why = isBrokenCircuitError(reason) ? "open" : isBulkheadRejectedError(reason) ? "full" : undefined;
    if (why === undefined) return reason;
    metrics.upstreamRejections.labels({ service, reason: why }).inc();
    return new ConnectError("the service does not answer", Code.Unavailable, { "retry-after": "1" }, undefined, reason);
  }

  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const boundMs = timeoutMs ?? timeoutOf(method, input, limits);
      const deadline = performance.now() + boundMs;
      const call = async () => {
        // Of all attempts together.
        const leftMs = Math.max(1, deadline - performance.now());
        try {
          return await transport.unary(method, signal, leftMs, header, input, contextValues);
        } catch (reason) {
          // The caller has set no deadline: it hears that somebody does not answer, and not that it was impatient.
          if (timeoutMs !== undefined || !isCode(reason, Code.DeadlineExceeded)) throw reason;
          const error = notAnswered(method, boundMs, reason);
          late.add(error);
          throw error;
        }
      };
      try {
        return await policyOf(method).execute(call, signal);
      } catch (reason) {
        throw refused(method.parent.typeName, reason, signal);
      }
    },
    stream(method, signal, timeoutMs, header, input, contextValues) {
      return new Promise((resolve, reject) => {
        const open = async (): Promise<void> => {
          const answer = await transport.stream(method, signal, timeoutMs, header, input, contextValues);
          const [message, first] = watchFirst(answer.message, limits.streamSilenceMs);
          resolve({ ...answer, message });
          await first;
        };
        policyOf(method)
          .execute(open, signal)
          // Without effect once it is open: who reads the stream hears of the error there.
          .catch((reason: unknown) => reject(refused(method.parent.typeName, reason, signal)));
      });
    },
  };
}

/** The same messages, and what became of the first: it rejects as that does, unless nothing happens for `silenceMs`. */
function watchFirst<T>(messages: AsyncIterable<T>, silenceMs: number): [AsyncIterable<T>, Promise<void>] {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const silence = setTimeout(resolve, silenceMs).unref();
  async function* watched(): AsyncGenerator<T> {
    try {
      for await (const message of messages) {
        resolve();
        yield message;
      }
    } catch (reason) {
      reject(reason);
      throw reason;
    } finally {
      clearTimeout(silence);
      resolve();
    }
  }
  return [{ [Symbol.asyncIterator]: watched }, promise];
}

/** How long a call may take whose caller does not say. */
function timeoutOf(method: DescMethod, input: unknown, limits: ResilienceLimits): number {
  if (method === PluginService.method.callPlugin) {
    return limits.timeoutMs + (numberIn(input, "timeoutMs") || mostPluginCallMs);
  }
  const moves = method.parent.typeName === PluginService.typeName || method.parent.typeName === LogService.typeName;
  if (moves && !isRepeatable(method)) return limits.longTimeoutMs;
  return limits.timeoutMs + numberIn(input, "waitMs");
}

function numberIn(input: unknown, name: string): number {
  const value = (input as Readonly<Record<string, unknown>>)[name];
  return typeof value === "number" ? value : 0;
}

function notAnswered(method: DescMethod, timeoutMs: number, cause: unknown): ConnectError {
  const words = `the service has not answered within ${Math.round(timeoutMs)} ms`;
  const message = isRepeatable(method) ? words : `${words}: it may have been done`;
  return new ConnectError(message, Code.Unavailable, { "retry-after": "1" }, undefined, cause);
}

function isAway(reason: unknown): reason is ConnectError {
  return isCode(reason, Code.Unavailable);
}

function isCode(reason: unknown, code: Code): reason is ConnectError {
  return reason instanceof ConnectError && reason.code === code;
}

function isRepeatable({ idempotency }: DescMethod): boolean {
  return idempotency === Idempotency.NO_SIDE_EFFECTS || idempotency === Idempotency.IDEMPOTENT;
}
