/** What the bus writes its log to; pino's loggers fit. */
export interface BusLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

const nothing = (): void => undefined;

export const silentLogger: BusLogger = { debug: nothing, info: nothing, warn: nothing, error: nothing };
