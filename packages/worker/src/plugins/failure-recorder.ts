import { create, toBinary } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import type { CallResult } from "@millrace/plugin-host";
import { RecordingSchema } from "@millrace/protocol";
import type { PluginCall } from "../executors/plugin-call.ts";
import { breachMessage } from "../job-events.ts";

/** A plugin that fails at each call would otherwise write as much as it reads. */
const mostPerSecond = 20;
/** What fits into a message, with room for its headers. */
const mostBytes = 960 << 10;

/** Keeps what a failed call did, so that it can be run again elsewhere. The last failure of a job stands. */
export class FailureRecorder {
  readonly #bus: Bus;
  readonly #onTrouble: (error: unknown) => void;
  #second = 0;
  #kept = 0;

  constructor(bus: Bus, onTrouble: (error: unknown) => void) {
    this.#bus = bus;
    this.#onTrouble = onTrouble;
  }

  ended({ version, exportName, timeoutMs, job, input }: PluginCall, result: CallResult): void {
    if (result.ok || result.code === "CANCELLED" || job === undefined || !this.#hasBudget()) return;
    const { code, message, retryable, breach, fuel, recording } = result;
    const fields = {
      manifest: version.manifest,
      sha256: version.version.sha256,
      export: exportName,
      input,
      timeoutMs,
      error: { code, message, retryable, attempt: job.options.attempt, ...breachMessage(breach) },
      fuel: BigInt(Math.round(fuel)),
      ...(version.version.granted === undefined ? {} : { granted: version.version.granted }),
    };
    const answers = [...(recording?.answers ?? [])];
    // What was killed could not say what it had learned.
    let bytes = this.#encode({ ...fields, answers, truncated: recording?.truncated ?? version.learns });
    if (bytes.length > mostBytes) bytes = this.#encode({ ...fields, answers: [], truncated: true });
    if (bytes.length > mostBytes) return;
    this.#bus.kv("recordings").put(job.id, bytes).catch(this.#onTrouble);
  }

  #encode(fields: Parameters<typeof create<typeof RecordingSchema>>[1]): Uint8Array {
    return toBinary(RecordingSchema, create(RecordingSchema, fields));
  }

  #hasBudget(): boolean {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.#second) this.#kept = 0;
    this.#second = second;
    return ++this.#kept <= mostPerSecond;
  }
}
