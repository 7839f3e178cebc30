import type { ConnectError } from "@connectrpc/connect";
import type { Exchange, ReplyHeaders } from "./exchange.ts";

/** An answer in place of the one that was asked for. */
export interface Refusal {
  readonly error: ConnectError;
  /** Of the answer by REST; the one that belongs to the code when left out. Other protocols have their own. */
  readonly status?: number;
  /** Of the answer, besides those that belong to every refusal. */
  readonly headers?: ReplyHeaders;
}

/** What stands around one request, whatever its door. Neither of the two may throw. */
export interface Interception {
  readonly requestId: string;
  /** Runs before the request is served. @returns the headers to serve it with */
  before(): Promise<Exchange["headers"] | Refusal>;
  /** Runs before the first byte of the answer leaves. @returns the headers to answer with */
  after(status: number, headers: ReplyHeaders): Promise<ReplyHeaders | Refusal>;
}

/** Asked for every request; undefined: it is served as it is, at no cost. */
export type Intercept = (request: Pick<Exchange, "verb" | "path" | "headers">) => Interception | undefined;

export function isRefusal(outcome: object): outcome is Refusal {
  return "error" in outcome && typeof outcome.error === "object";
}
