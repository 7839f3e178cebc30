import { Code, ConnectError } from "@connectrpc/connect";

/** What is lost on the way is told to the other end as this; who reads knows where to go on. */
export function lostFrames(): ConnectError {
  return new ConnectError("frames of this stream were lost with a connection: open it again", Code.Unavailable);
}

/** Numbers the frames of one direction of a stream, and says when one is missing. */
export class FrameCount {
  #last = 0;

  get last(): number {
    return this.#last;
  }

  next(): number {
    return (this.#last += 1);
  }

  /** @returns false when frames before this one are lost */
  take(number: number): boolean {
    if (number !== this.#last + 1) return false;
    this.#last = number;
    return true;
  }
}
