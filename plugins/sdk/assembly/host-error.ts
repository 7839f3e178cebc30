import { takeText } from "./host-memory";

@external("millrace:host/error", "last")
declare function last(): u64;

export class HostError {
  /**
   * Why the last host function that leaves the sandbox has failed, as `CODE: message`; empty when it has not. Each new call of
   * one starts anew.
   */
  static last(): string {
    const address = last();
    return address == 0 ? "" : takeText(address);
  }
}
