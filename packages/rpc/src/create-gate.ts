import type { ConnectError } from "@connectrpc/connect";
import type { CallContext } from "./call-context.ts";
import type { BodyGate } from "./collect-body.ts";
import type { Pipeline } from "./pipeline.ts";
import { toConnectError } from "./rpc-error.ts";

/** The pipeline's decision on a call with a large body. */
export interface CallGate {
  readonly ask: BodyGate;
  /** Why the body is not read to its end; to be told apart from what is wrong with the body. */
  readonly refusal: ConnectError | undefined;
}

export function createGate(pipeline: Pipeline, call: CallContext): CallGate {
  const gate = {
    refusal: undefined as ConnectError | undefined,
    async ask(): Promise<void> {
      try {
        await pipeline.gate(call);
      } catch (reason) {
        gate.refusal = toConnectError(reason);
        throw gate.refusal;
      }
    },
  };
  return gate;
}
