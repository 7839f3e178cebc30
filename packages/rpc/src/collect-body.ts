import { Code, ConnectError } from "@connectrpc/connect";
import type { BodyWatch, PendingBody } from "./body-watch.ts";
import { toConnectError } from "./rpc-error.ts";

export const noBytes = new Uint8Array(0);

/** A body may become so large before it is asked for whom it is read. */
export const gateBytes = 64 * 1024;

/** Whether the rest of a large body is to be read; asked once. What it throws ends the reading. */
export type BodyGate = () => void | Promise<void>;

interface Incoming {
  pause(): unknown;
  resume(): unknown;
  on(event: "data", listener: (chunk: Buffer) => void): unknown;
  on(event: "end" | "close" | "aborted", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
}

/**
 * Reads a body whole, within bounds.
 * @param length what the caller has announced
 * @param cut called before `done` gets the error of a caller that is too slow, one too many, or kept out by the gate: nothing
 * more is read
 * @param gate asked when the body has more than `gateBytes`
 */
export function collectBody(
  source: Incoming,
  length: string | undefined,
  maxBytes: number,
  watch: BodyWatch | undefined,
  cut: () => void,
  done: (body: Uint8Array, error: ConnectError | undefined) => void,
  gate?: BodyGate,
): void {
  if (Number(length) > maxBytes) {
    watch?.tooLarge();
    done(noBytes, new ConnectError(tooLarge(maxBytes), Code.ResourceExhausted));
    return;
  }
  let first: Buffer | undefined;
  let rest: Buffer[] | undefined;
  let size = 0;
  let settled = false;
  const settle = (body: Uint8Array, error: ConnectError | undefined): void => {
    settled = true;
    watch?.remove(pending);
    first = rest = undefined;
    done(body, error);
  };
  const pending: PendingBody = {
    since: watch === undefined ? 0 : performance.now(),
    heldBytes: 0,
    refuse(error) {
      cut();
      settle(noBytes, error);
    },
  };
  let closed = gate;
  const open = async (ask: BodyGate): Promise<void> => {
    try {
      await ask();
      source.resume();
    } catch (reason) {
      if (settled) return;
      cut();
      settle(noBytes, toConnectError(reason));
    }
  };
  watch?.add(pending);
  source.on("data", (chunk) => {
    if (settled) return;
    size += chunk.byteLength;
    if (size > maxBytes) {
      watch?.tooLarge();
      settle(first ?? chunk, new ConnectError(tooLarge(maxBytes), Code.ResourceExhausted));
      return;
    }
    const full = watch?.hold(pending, chunk.byteLength);
    if (full !== undefined) {
      cut();
      settle(noBytes, full);
    } else if (first === undefined) first = chunk;
    else (rest ??= [first]).push(chunk);
    if (size > gateBytes && closed !== undefined) {
      const ask = closed;
      closed = undefined;
      source.pause();
      void open(ask);
    }
  });
  source.on("end", () => {
    if (!settled) settle(rest !== undefined ? Buffer.concat(rest, size) : (first ?? noBytes), undefined);
  });
  const broken = () => {
    if (!settled) settle(noBytes, new ConnectError("the request was aborted", Code.Canceled));
  };
  source.on("error", broken);
  source.on("close", broken);
}

/** Same words as Connect's own. */
export function tooLarge(maxBytes: number, size?: number): string {
  return size === undefined
    ? `message size is larger than configured readMaxBytes ${maxBytes}`
    : `message size ${size} is larger than configured readMaxBytes ${maxBytes}`;
}
