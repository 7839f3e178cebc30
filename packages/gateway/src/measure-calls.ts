import { errorCodeName, type CallObserver } from "@millrace/rpc";
import type { Metrics } from "@millrace/service-kit";

interface Meters {
  readonly calls: Map<string, { inc(): void }>;
  readonly seconds: { observe(value: number): void };
}

/** Counts and times every call. Labelled meters are looked up once: prom-client hashes labels on each use otherwise. */
export function measureCalls(metrics: Pick<Metrics, "rpcCalls" | "rpcSeconds">): CallObserver {
  const meters = new Map<unknown, Map<string, Meters>>();
  return {
    ended(call, error, durationMs) {
      const door = call.protocolName;
      let byDoor = meters.get(call.method);
      if (byDoor === undefined) meters.set(call.method, (byDoor = new Map()));
      let meter = byDoor.get(door);
      const method = `${call.service.name}.${call.method.name}`;
      if (meter === undefined) {
        meter = { calls: new Map(), seconds: metrics.rpcSeconds.labels({ method, door }) };
        byDoor.set(door, meter);
      }
      const code = error === undefined ? "ok" : errorCodeName(error.code);
      let calls = meter.calls.get(code);
      if (calls === undefined) {
        calls = metrics.rpcCalls.labels({ method, door, code });
        meter.calls.set(code, calls);
      }
      calls.inc();
      meter.seconds.observe(durationMs / 1000);
    },
  };
}

/** Tells two observers of every call. */
export function observeBoth(first: CallObserver, second: CallObserver): CallObserver {
  return {
    ended(call, error, durationMs) {
      first.ended?.(call, error, durationMs);
      second.ended?.(call, error, durationMs);
    },
    overloaded() {
      first.overloaded?.();
      second.overloaded?.();
    },
  };
}
