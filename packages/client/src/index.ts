export { bearerLogin, bearerToken, type Login } from "./bearer.ts";
export {
  createClient,
  type Accepted,
  type Client,
  type ClientOptions,
  type Credentials,
  type WaitOptions,
  type WatchFilter,
} from "./client.ts";
export { toSubmitRequest, type JobSpec } from "./job-spec.ts";
export { type ResumeOptions } from "./resume-stream.ts";
export { toMillraceError } from "./to-millrace-error.ts";
export { createPublisher, type PublisherOptions } from "./create-publisher.ts";
export type { Publisher, PublisherLimits, PublishManyOptions, PublishTotals, Refusal } from "./publisher.ts";
