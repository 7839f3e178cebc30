import { putText, takeText } from "./host-memory";

@external("millrace:host/events", "publish")
declare function events_publish(name: u64, json: u64): u64;

/** Takes the capability `events`, with a pattern that fits the event's name. */
export class Events {
  /** @param json the event's data. @returns the event's id; null after a failure, of which HostError.last() tells */
  static publish(name: string, json: string): string | null {
    const address = events_publish(putText(name), putText(json));
    return address == 0 ? null : takeText(address);
  }
}
