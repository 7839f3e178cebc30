import { Code, ConnectError } from "@connectrpc/connect";

/** A stream of one. */
export async function* one<T>(message: T): AsyncIterable<T> {
  yield message;
}

/** @throws ConnectError `unimplemented`, as gRPC has it, when there is not exactly one */
export async function only<T>(messages: AsyncIterable<T>): Promise<T> {
  let first: { readonly message: T } | undefined;
  for await (const message of messages) {
    if (first !== undefined) throw new ConnectError("received extra input message", Code.Unimplemented);
    first = { message };
  }
  if (first === undefined) throw new ConnectError("missing input message", Code.Unimplemented);
  return first.message;
}
