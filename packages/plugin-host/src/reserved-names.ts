/** Names that the loader adds to a module. A module that brings its own is refused. */
export const reservedPrefix = "millrace:";

export const reservedNames = {
  memory: `${reservedPrefix}memory`,
  global: (index: number) => `${reservedPrefix}global:${index}`,
  table: (index: number) => `${reservedPrefix}table:${index}`,
  initialize: `${reservedPrefix}_initialize`,
  start: `${reservedPrefix}_start`,
  /** Where WASI imports are sent, so that Extism's own WASI (which opens /dev/null per instance) stays out. */
  wasi: `${reservedPrefix}wasi`,
} as const;
