/** Names that the loader adds to a module. A module that exports such names is refused. */
export const reservedPrefix = "millrace:";

export const reservedNames = {
  initialize: `${reservedPrefix}_initialize`,
  start: `${reservedPrefix}_start`,
  haskellInit: `${reservedPrefix}hs_init`,
  /**
   * Where imports of functions of ours are sent. Under `extism:host/env` they would land in the object with Extism's
   * own, and its linker swaps any http_request it finds there for one that really fetches.
   */
  extism: `${reservedPrefix}extism`,
  /** Where WASI imports are sent: Extism's own WASI opens /dev/null for each instance. */
  wasi: `${reservedPrefix}wasi`,
} as const;
