import { takeText } from "./host-memory";
import { JsonReader } from "./json";

@external("millrace:host/job", "context")
declare function job_context(): u64;

/** The job that the call is an attempt at. Empty, with attempt 0, for a call outside any queue. */
export class JobContext {
  id: string = "";
  /** From 1. */
  attempt: i32 = 0;
  maxAttempts: i32 = 0;
  /** Unix time in milliseconds; 0 for none. */
  deadlineMs: f64 = 0;
  tags: string[] = [];
  queue: string = "";
  type: string = "";
  correlationId: string = "";
}

export class Job {
  static context(): JobContext {
    const json = new JsonReader(takeText(job_context())).read();
    const context = new JobContext();
    context.id = json.stringOr("jobId", "");
    context.attempt = <i32>json.numberOr("attempt", 0);
    context.maxAttempts = <i32>json.numberOr("maxAttempts", 0);
    context.deadlineMs = json.numberOr("deadlineMs", 0);
    context.queue = json.stringOr("queue", "");
    context.type = json.stringOr("type", "");
    context.correlationId = json.stringOr("correlationId", "");
    const tags = json.get("tags");
    if (tags !== null) {
      for (let i = 0; i < tags.items.length; i++) context.tags.push(tags.items[i].text);
    }
    return context;
  }
}
