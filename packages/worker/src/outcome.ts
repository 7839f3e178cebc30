import type { Breach } from "@millrace/plugin-host";
import type { JobErrorCode } from "@millrace/protocol";

const none = new Uint8Array(0);

/**
 * How an attempt ended, as a value. A handler may return one to say more than "succeeded with this output".
 *
 * Outputs: bytes go out as they are, a string as text, any other value as JSON, nothing as an empty payload.
 */
export class Outcome {
  readonly kind: "succeeded" | "failed" | "snoozed" | "cancelled";
  readonly output: Uint8Array;
  readonly contentType: string;
  readonly code: JobErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly delayMs: number;
  /** The limit that the attempt ran into. */
  readonly breach: Breach | undefined;

  private constructor(fields: Partial<Outcome> & { kind: Outcome["kind"] }) {
    this.kind = fields.kind;
    this.output = fields.output ?? none;
    this.contentType = fields.contentType ?? "";
    this.code = fields.code ?? "HANDLER_FAILED";
    this.message = fields.message ?? "";
    this.retryable = fields.retryable ?? false;
    this.delayMs = fields.delayMs ?? 0;
    this.breach = fields.breach;
  }

  /** @param contentType media type of bytes; JSON and text know their own */
  static succeeded(output?: unknown, contentType = ""): Outcome {
    if (output === undefined) return succeededEmpty;
    if (output instanceof Uint8Array) return new Outcome({ kind: "succeeded", output, contentType });
    if (typeof output === "string") {
      return new Outcome({
        kind: "succeeded",
        output: encoder.encode(output),
        contentType: contentType || "text/plain",
      });
    }
    const json = encoder.encode(JSON.stringify(output));
    return new Outcome({ kind: "succeeded", output: json, contentType: contentType || "application/json" });
  }

  static failed(
    message: string,
    options: { code?: JobErrorCode; retryable?: boolean; breach?: Breach | undefined } = {},
  ): Outcome {
    return new Outcome({
      kind: "failed",
      message: message.slice(0, mostMessageChars),
      code: options.code ?? "HANDLER_FAILED",
      retryable: options.retryable ?? true,
      breach: options.breach,
    });
  }

  /** Runs again after `delayMs` without using up an attempt. */
  static snoozed(delayMs: number): Outcome {
    return new Outcome({ kind: "snoozed", delayMs: Math.max(0, delayMs) });
  }

  static cancelled(message = "cancelled"): Outcome {
    return new Outcome({ kind: "cancelled", code: "CANCELLED", message: message.slice(0, mostMessageChars) });
  }

  /** What a handler returned, as an outcome. */
  static of(value: unknown): Outcome {
    return value instanceof Outcome ? value : Outcome.succeeded(value);
  }

  /** What a handler threw, as an outcome. */
  static ofError(error: unknown): Outcome {
    return Outcome.failed(error instanceof Error ? error.message || error.name : String(error));
  }

  /** For `of` and the hot path: one object for all that return nothing. */
  static readonly empty: Outcome = new Outcome({ kind: "succeeded" });
}

/** Longer messages are cut: they travel in events and rows. */
const mostMessageChars = 4096;
const encoder = new TextEncoder();
const succeededEmpty = Outcome.empty;
