/** Who a gateway calls a service for; travels in the header `millrace-caller`, which no door takes from outside. */
export interface CallerInfo {
  /** User id, or `anonymous`. */
  readonly subject: string;
  readonly email: string;
  readonly permissions: readonly string[];
  /** Of an API token; all when empty. */
  readonly queues: readonly string[];
  readonly types: readonly string[];
  readonly tokenId: string;
  readonly sessionId: string;
  /** IP address that the call came from. */
  readonly address: string;
  readonly requestId: string;
  /** `rest`, `connect`, `grpc` or `grpc-web`. */
  readonly door: string;
}

export const callerHeader = "millrace-caller";

/**
 * Set by a gateway that resumes watches: it wants the position from the start, and at times while nothing happens, as messages
 * that have only that. Its clients do not see them.
 */
export const bookmarksHeader = "millrace-bookmarks";

/** As text that fits a header of any protocol: JSON with only ASCII. */
export function encodeCaller(caller: CallerInfo): string {
  return JSON.stringify(caller).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** @throws SyntaxError for what a gateway has not written */
export function decodeCaller(header: string): CallerInfo {
  return JSON.parse(header) as CallerInfo;
}
