import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  type Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
  HealthCheckResponseSchema,
} from "@millrace/protocol";

/** Serves grpc.health.v1 (https://github.com/grpc/grpc/blob/master/doc/health-checking.md). */
export interface HealthService {
  readonly impl: ServiceImpl<typeof Health>;
  /** Whether the whole server, and with it each of its services, takes calls. Watchers are told. */
  setServing(serving: boolean): void;
}

/** @param services full names that callers may ask about */
export function createHealthService(services: readonly string[], serving = true): HealthService {
  let current = serving;
  const known = new Set(["", ...services]);
  const listeners = new Set<() => void>();

  function statusOf(service: string): ServingStatus {
    if (!known.has(service)) return ServingStatus.SERVICE_UNKNOWN;
    return current ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  }

  return {
    setServing(next) {
      current = next;
      for (const listener of listeners) listener();
    },
    impl: {
      check(request) {
        const status = statusOf(request.service);
        if (status === ServingStatus.SERVICE_UNKNOWN) throw new ConnectError("unknown service", Code.NotFound);
        return create(HealthCheckResponseSchema, { status });
      },
      async *watch(request, context) {
        let wake = () => {};
        const listener = () => wake();
        listeners.add(listener);
        context.signal.addEventListener("abort", listener, { once: true });
        try {
          let told: ServingStatus | undefined;
          while (!context.signal.aborted) {
            const status = statusOf(request.service);
            if (status !== told) yield create(HealthCheckResponseSchema, { status });
            told = status;
            if (statusOf(request.service) !== told) continue;
            await new Promise<void>((resolve) => {
              wake = resolve;
              if (context.signal.aborted) resolve();
            });
          }
        } finally {
          listeners.delete(listener);
        }
      },
    },
  };
}
