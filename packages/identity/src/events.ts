import type { Logger } from "@millrace/service-kit";

/** What happens in identity: one method for each event. Users are named by id only. */
export class IdentityEvents {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  userAdded(userId: string, how: "administrator" | "registration" | "oidc" | "first start"): void {
    this.#logger.info({ userId, how }, "user added");
  }

  userChanged(userId: string, by: string): void {
    this.#logger.info({ userId, by }, "user changed");
  }

  userDeleted(userId: string, by: string, purged: boolean): void {
    this.#logger.info({ userId, by, purged }, "user deleted");
  }

  loggedIn(userId: string, address: string): void {
    this.#logger.info({ userId, address }, "logged in");
  }

  /** Without the email: people type passwords there. */
  loginFailed(userId: string | undefined, address: string): void {
    this.#logger.warn({ userId, address }, "login failed");
  }

  refreshReused(userId: string, sessionId: string, address: string): void {
    this.#logger.warn({ userId, sessionId, address }, "a refresh token was used twice: session ended");
  }

  /** An administrator may hand out a code. */
  resetAsked(userId: string): void {
    this.#logger.info({ userId }, "new password asked for");
  }

  passwordChanged(userId: string): void {
    this.#logger.info({ userId }, "password changed");
  }

  tokenCreated(userId: string, tokenId: string): void {
    this.#logger.info({ userId, tokenId }, "API token created");
  }

  tokenRevoked(userId: string, tokenId: string): void {
    this.#logger.info({ userId, tokenId }, "API token revoked");
  }

  oidcFailed(error: unknown): void {
    this.#logger.warn({ err: error }, "OIDC login failed");
  }

  /** Callers are known by what was read before. */
  databaseAway(error: unknown): void {
    this.#logger.warn({ err: error }, "the database is away: revocations and tokens are those read before");
  }

  /** It is tried again. */
  upkeepFailed(error: unknown): void {
    this.#logger.warn({ err: error }, "upkeep of keys and sessions failed");
  }
}
