import { putBytes, putText, takeText } from "./host-memory";
import { quote } from "./json";

@external("millrace:host/jobs", "submit")
declare function jobs_submit(request: u64, payload: u64): u64;

export class JobRequest {
  /** The queue's name; the type's own when empty. */
  queue: string = "";
  /** critical, high, normal or low; normal when empty. */
  priority: string = "";
  /** Makes a repeated submit one job; chosen by the platform when empty. */
  id: string = "";

  constructor(public type: string) {}
}

/** Takes the capability `jobs`, with the job's type. */
export class Jobs {
  /** @returns the job's id; null after a failure, of which HostError.last() tells */
  static submit(request: JobRequest, payload: Uint8Array): string | null {
    let head = '{"type":' + quote(request.type);
    if (request.queue.length > 0) head += ',"queue":' + quote(request.queue);
    if (request.priority.length > 0) head += ',"priority":' + quote(request.priority);
    if (request.id.length > 0) head += ',"id":' + quote(request.id);
    const address = jobs_submit(putText(head + "}"), putBytes(payload));
    return address == 0 ? null : takeText(address);
  }
}
