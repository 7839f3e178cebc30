import type { HostPort } from "./call-answers.ts";
import type { ExecutorReply } from "./executor-protocol.ts";
import type { HostAnswer, HostAsk } from "./host-calls.ts";

interface OpenCall {
  readonly abort: AbortController;
  /** A call asks for one thing at a time. */
  asked: { readonly ask: number; readonly resolve: (answer: HostAnswer) => void } | undefined;
  asks: number;
}

/** Calls of a thread that may wait: takes their asks to the worker, and answers and cancels to them. */
export class OpenCalls {
  readonly #send: (message: ExecutorReply, transfer: ArrayBuffer[]) => void;
  readonly #calls = new Map<number, OpenCall>();

  constructor(send: (message: ExecutorReply, transfer: ArrayBuffer[]) => void) {
    this.#send = send;
  }

  get size(): number {
    return this.#calls.size;
  }

  add(callId: number): { host: HostPort; signal: AbortSignal } {
    const call: OpenCall = { abort: new AbortController(), asked: undefined, asks: 0 };
    this.#calls.set(callId, call);
    return { host: this.hostOf(callId), signal: call.abort.signal };
  }

  remove(callId: number): void {
    this.#calls.delete(callId);
  }

  /** For a call that was not added, asks are told only: nothing would ever answer them. */
  hostOf(callId: number): HostPort {
    return {
      ask: (ask) => this.#ask(callId, ask),
      tell: (ask) => this.#send({ kind: "ask", callId, ask: 0, ...ask }, []),
    };
  }

  /** An answer that comes too late is dropped. */
  answer(callId: number, ask: number, answer: HostAnswer): void {
    const call = this.#calls.get(callId);
    if (call?.asked?.ask !== ask) return;
    const { resolve } = call.asked;
    call.asked = undefined;
    resolve(answer);
  }

  /** Returns false when the call is not open. */
  cancel(callId: number): boolean {
    const call = this.#calls.get(callId);
    call?.abort.abort();
    return call !== undefined;
  }

  #ask(callId: number, message: HostAsk): Promise<HostAnswer> {
    const call = this.#calls.get(callId);
    if (!call) throw new Error(`call ${callId} is not one that may wait`);
    const ask = ++call.asks;
    return new Promise((resolve) => {
      call.asked = { ask, resolve };
      const transfer = message.body?.buffer instanceof ArrayBuffer ? [message.body.buffer] : [];
      this.#send({ kind: "ask", callId, ask, ...message }, transfer);
    });
  }
}
