import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Exchange } from "./exchange.ts";
import type { PipelineMethod } from "./pipeline.ts";

/** Whether Connect lets a method be called by GET. */
export function isReadable({ desc }: PipelineMethod): boolean {
  return (
    desc.methodKind === "unary" &&
    desc.proto.options?.idempotencyLevel === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS
  );
}

/** What stands for the body and its headers in a GET: https://connectrpc.com/docs/protocol#unary-get-request */
export interface QueryMessage {
  /** `json` or `proto`; anything else is none of Connect's. */
  readonly encoding: string;
  readonly compression: string | undefined;
  /** @throws ConnectError `invalid_argument` */
  bytes(): Uint8Array;
}

export function readQueryMessage({ query }: Exchange): QueryMessage {
  const values = new URLSearchParams(query);
  return {
    encoding: values.get("encoding") ?? "",
    compression: values.get("compression") ?? undefined,
    bytes() {
      const text = values.get("message") ?? "";
      if (values.get("base64") !== "1") return new TextEncoder().encode(text);
      if (!/^[\w+/-]*={0,2}$/.test(text)) throw new ConnectError("the message is no base64", Code.InvalidArgument);
      return Buffer.from(text, "base64url");
    },
  };
}
