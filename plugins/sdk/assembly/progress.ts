import { putText } from "./host-memory";

@external("millrace:host/progress", "report")
declare function progress_report(percent: f64, text: u64): void;

export class Progress {
  /** @param percent 0 to 100. What comes within 100 ms of the last report is left out. */
  static report(percent: f64, text: string = ""): void {
    progress_report(percent, text.length == 0 ? 0 : putText(text));
  }
}
