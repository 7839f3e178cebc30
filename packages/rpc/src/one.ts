/** A stream of one. */
export async function* one<T>(message: T): AsyncIterable<T> {
  yield message;
}
