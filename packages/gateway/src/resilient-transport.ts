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
  noop,
  retry,
  wrap,
  type BulkheadPolicy,
  type IPolicy,
} from "cockatiel";
import { Code, ConnectError, type RpcTransport } from "@millrace/rpc";
import type { Metrics } from "@millrace/service-kit";

export interface ResilienceLimits {
  /** Unary calls to one service at once: one that hangs must leave room for the others. */
  readonly maxPerService: number;
  /** So many failures in a row, and a method is not called for a while. */
  readonly failuresToOpen: number;
  /** Then one call tries, ms. */
  readonly openMs: number;
  /** Of calls whose caller gives none; above the longest wait of the contract. */
  readonly timeoutMs: number;
}

export const defaultResilience: ResilienceLimits = {
  maxPerService: 5_000,
  failuresToOpen: 20,
  openMs: 1_000,
  timeoutMs: 120_000,
};

const retries = { maxAttempts: 2, initialDelay: 20, maxDelay: 200 };

type Meters = Pick<Metrics, "upstreamRetries" | "upstreamRejections" | "upstreamOpen">;

/**
 * Calls services with bounds: a bulkhead for each service, a breaker for each method (the database may be away, which ends
 * reads and not submissions), a timeout, and retries of what changes nothing. Streams are passed on as they are: who
 * follows one knows where to go on.
 */
export function createResilientTransport(
  transport: RpcTransport,
  metrics: Meters,
  limits: ResilienceLimits = defaultResilience,
): RpcTransport {
  const bulkheads = new Map<string, BulkheadPolicy>();
  const policies = new Map<DescMethod, IPolicy>();

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
    if (!isRepeatable(method)) return wrap(room, breaker, noop);
    const again = retry(handleWhen(isAway), {
      maxAttempts: retries.maxAttempts,
      backoff: new ExponentialBackoff(retries),
    });
    again.onRetry(() => metrics.upstreamRetries.labels({ service }).inc());
    return wrap(room, again, breaker);
  }

  function refused(service: string, reason: unknown): unknown {
    const why = isBrokenCircuitError(reason) ? "open" : isBulkheadRejectedError(reason) ? "full" : undefined;
    if (why === undefined) return reason;
    metrics.upstreamRejections.labels({ service, reason: why }).inc();
    return new ConnectError("the service does not answer", Code.Unavailable, { "retry-after": "1" }, undefined, reason);
  }

  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const call = () => transport.unary(method, signal, timeoutMs ?? limits.timeoutMs, header, input, contextValues);
      try {
        return await policyOf(method).execute(call, signal);
      } catch (reason) {
        throw refused(method.parent.typeName, reason);
      }
    },
    stream: transport.stream.bind(transport),
  };
}

function isAway(reason: unknown): boolean {
  return reason instanceof ConnectError && reason.code === Code.Unavailable;
}

function isRepeatable({ idempotency }: DescMethod): boolean {
  return idempotency === Idempotency.NO_SIDE_EFFECTS || idempotency === Idempotency.IDEMPOTENT;
}
