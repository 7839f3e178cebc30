import { maxRun } from "@millrace/protocol";

/** What a worker can be told over NATS, as JSON on `cmd.all` or `cmd.worker.<id>`. */
export type WorkerCommand =
  | { readonly command: "status" }
  /** Which of these jobs it has in hand, from pull to ack: answered at once with a HoldsAnswer. */
  | { readonly command: "holds"; readonly ids: readonly string[] }
  /** This run of the job and earlier ones; without a run all. */
  | { readonly command: "cancel"; readonly id: string; readonly run?: number }
  /** Without a queue: all that the worker serves. Lasts until resumed, or until the worker ends. */
  | { readonly command: "pause" | "resume"; readonly queue?: string }
  /** Takes nothing new; answered when everything in hand has ended. */
  | { readonly command: "drain" };

const decoder = new TextDecoder();

/** @returns undefined when it is no command */
export function parseWorkerCommand(data: Uint8Array): WorkerCommand | undefined {
  const value = parseObject(decoder.decode(data));
  if (value === undefined) return undefined;
  const { command, id, run, queue, ids } = value;
  switch (command) {
    case "status":
    case "drain":
      return { command };
    case "holds":
      return Array.isArray(ids) && ids.every((each) => typeof each === "string") ? { command, ids } : undefined;
    case "cancel":
      if (typeof id !== "string") return undefined;
      return typeof run === "number" ? { command, id, run } : { command, id };
    case "pause":
    case "resume":
      if (queue === undefined) return { command };
      return typeof queue === "string" ? { command, queue } : undefined;
    default:
      return undefined;
  }
}

/** What a broadcast on `cmd.cancel` says: `{"id":"…","run":1}`, or the id alone for all runs. */
export function parseCancelBroadcast(data: Uint8Array): { readonly id: string; readonly run: number } {
  const text = decoder.decode(data);
  // No id begins so.
  if (!text.startsWith("{")) return { id: text, run: maxRun };
  const { id, run } = parseObject(text) ?? {};
  return { id: typeof id === "string" ? id : "", run: typeof run === "number" ? run : maxRun };
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
