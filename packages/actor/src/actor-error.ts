/** Why a message or an actor came to nothing. */
export type ActorErrorCode =
  | "MAILBOX_FULL"
  | "ASK_TIMEOUT"
  | "STOPPED"
  | "FAILED"
  | "NOT_FOUND"
  | "TOO_MANY_RESTARTS"
  | "DUPLICATE";

/** The one error class of the kernel; `path` names the actor it is about. */
export class ActorError extends Error {
  readonly code: ActorErrorCode;
  readonly path: string;

  constructor(code: ActorErrorCode, path: string, options?: { cause?: unknown }) {
    super(`${code} ${path}`, options);
    this.name = "ActorError";
    this.code = code;
    this.path = path;
  }
}
