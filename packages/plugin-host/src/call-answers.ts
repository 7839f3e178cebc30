import type { CallRecording, RecordedAnswer } from "./call-result.ts";
import { CallFailure } from "./call-failure.ts";
import { decodeAnswer, encodeAnswer } from "./encode-answer.ts";
import type { HostAnswer, HostAsk, HostCalls } from "./host-calls.ts";

/** Where the answers of a live call come from. */
export interface HostPort {
  ask(ask: HostAsk): Promise<HostAnswer>;
  /** Passes something on that nobody answers. */
  tell(ask: HostAsk): void;
}

/** All that a call learns from outside, in order. */
export interface CallAnswers extends HostPort {
  /** A value that is at hand, such as the time. `make` is not asked when the call is replayed. */
  learn(what: "clock" | "random" | "context", make: () => Uint8Array): Uint8Array;
  /** Undefined when none is kept. */
  readonly recording: CallRecording | undefined;
}

/** Of answers, kept for one call. */
const MAX_RECORDING_BYTES = 512 * 1024;
/** Each costs some 5 us of the thread that takes them over, which others wait for: a flood of small ones must end too. */
const MAX_RECORDED_ANSWERS = 2000;

/** Answers from the world, kept when asked for. */
export class LiveAnswers implements CallAnswers {
  readonly #host: HostPort | undefined;
  #answers: RecordedAnswer[] | undefined;
  #bytes = 0;
  #truncated = false;

  constructor(host: HostPort | undefined, record: boolean) {
    this.#host = host;
    this.#answers = record ? [] : undefined;
  }

  learn(what: string, make: () => Uint8Array): Uint8Array {
    const answer = make();
    this.#keep(what, () => answer, answer.length);
    return answer;
  }

  async ask(ask: HostAsk): Promise<HostAnswer> {
    if (!this.#host) throw new CallFailure("HOST_DENIED", `${ask.function}: nobody here answers host functions`);
    const answer = await this.#host.ask(ask);
    const bodyBytes = answer.failure ? 0 : (answer.body?.length ?? 0);
    this.#keep(ask.function, () => encodeAnswer(withoutSecret(ask, answer)), bodyBytes);
    return answer;
  }

  tell(ask: HostAsk): void {
    this.#host?.tell(ask);
  }

  get recording(): CallRecording | undefined {
    return this.#answers && { answers: this.#answers, truncated: this.#truncated };
  }

  #keep(what: string, encode: () => Uint8Array, atLeastBytes: number): void {
    if (!this.#answers || this.#truncated) return;
    const room = MAX_RECORDING_BYTES - this.#bytes;
    const isRoom = this.#answers.length < MAX_RECORDED_ANSWERS && atLeastBytes <= room;
    const answer = isRoom ? encode() : undefined;
    if (answer === undefined || answer.length > room) {
      // What is not whole cannot be run again.
      this.#truncated = true;
      this.#answers = [];
    } else {
      this.#bytes += answer.length;
      this.#answers.push({ function: what, answer });
    }
  }
}

/** Secrets are kept nowhere: a recording has as many asterisks. */
function withoutSecret(ask: HostAsk, answer: HostAnswer): HostAnswer {
  if (ask.function !== "secrets.get" || answer.failure) return answer;
  const { value } = answer.meta as HostCalls["secrets.get"]["answer"];
  return { meta: { value: "*".repeat(value.length) } };
}

/** Answers from a recording: no I/O, no clock. A plugin that asks for something else than it did fails. */
export class ReplayedAnswers implements CallAnswers {
  readonly recording: undefined;
  readonly #answers: readonly RecordedAnswer[];
  #next = 0;

  constructor({ answers }: CallRecording) {
    this.#answers = answers;
  }

  learn(what: string): Uint8Array {
    const recorded = this.#answers[this.#next];
    if (!recorded) throw new CallFailure("HOST_DENIED", `the recording ends here: nothing had answered ${what}`);
    if (recorded.function !== what) {
      const had = recorded.function;
      throw new CallFailure("HOST_DENIED", `not the call that was recorded: it asks for ${what}, which had ${had}`);
    }
    this.#next++;
    return recorded.answer;
  }

  async ask(ask: HostAsk): Promise<HostAnswer> {
    return decodeAnswer(this.learn(ask.function));
  }

  tell(): void {}
}
