import { putText } from "./host-memory";

@external("millrace:host/log", "write")
declare function log_write(level: i32, text: u64): void;

export enum Severity {
  Trace,
  Debug,
  Info,
  Warn,
  Error,
}

export class Log {
  static write(severity: Severity, text: string): void {
    log_write(severity, putText(text));
  }

  static info(text: string): void {
    Log.write(Severity.Info, text);
  }

  static warn(text: string): void {
    Log.write(Severity.Warn, text);
  }

  static error(text: string): void {
    Log.write(Severity.Error, text);
  }
}
