import type { ExitReason } from "./actor-ref.ts";

/** What arrives from other nodes; the system answers it. */
export interface RemoteHandler {
  tell(path: string, message: unknown): boolean;
  ask(path: string, message: unknown, timeoutMs: number): Promise<unknown>;
  /** Calls `onEnd` once; the returned function withdraws. */
  watch(path: string, onEnd: (reason: ExitReason) => void): () => void;
}

/**
 * Carries messages between nodes. The kernel knows no network: the owner of one (NATS, a test's array) brings it in.
 * Messages must survive the transport's own encoding.
 */
export interface RemoteTransport {
  /** This node's name: `actor.<node>.<path>` reaches it. */
  readonly node: string;
  /** Hands the system's handler to the transport; the returned function takes it back. */
  listen(handler: RemoteHandler): () => void;
  tell(node: string, path: string, message: unknown): boolean;
  ask(node: string, path: string, message: unknown, timeoutMs: number): Promise<unknown>;
  watch(node: string, path: string, onEnd: (reason: ExitReason) => void): () => void;
}
