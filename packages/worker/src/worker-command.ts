/** What a worker can be told over NATS, as JSON on `cmd.all` or `cmd.worker.<id>`. */
export type WorkerCommand =
  | { readonly command: "status" }
  | { readonly command: "cancel"; readonly id: string }
  /** Without a queue: all that the worker serves. Lasts until resumed, or until the worker ends. */
  | { readonly command: "pause" | "resume"; readonly queue?: string }
  /** Takes nothing new; answered when everything in hand has ended. */
  | { readonly command: "drain" };

const decoder = new TextDecoder();

/** @returns undefined when it is no command */
export function parseWorkerCommand(data: Uint8Array): WorkerCommand | undefined {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(data));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("command" in value)) return undefined;
  switch (value.command) {
    case "status":
    case "drain":
      return { command: value.command };
    case "cancel":
      return "id" in value && typeof value.id === "string" ? { command: "cancel", id: value.id } : undefined;
    case "pause":
    case "resume": {
      if (!("queue" in value)) return { command: value.command };
      return typeof value.queue === "string" ? { command: value.command, queue: value.queue } : undefined;
    }
    default:
      return undefined;
  }
}
