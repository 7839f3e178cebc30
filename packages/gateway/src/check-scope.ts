import type { Message } from "@bufbuild/protobuf";
import {
  JobService,
  PluginService,
  type GetJobRequest,
  type GetRecordingRequest,
  type Job,
  type ListJobsRequest,
  type SubmitJobRequest,
  type SubmitJobsRequest,
} from "@millrace/protocol";
import { Code, ConnectError, createClient, type CallContext, type Identity, type RpcTransport } from "@millrace/rpc";
import type { MethodAccess } from "./check-access.ts";
import type { Refusals } from "./refusals.ts";

const defaultQueue = "default";
const lookUpTimeoutMs = 5_000;
/** Ids of one request that are looked up together. */
const lookUpsAtOnce = 32;
/** What a limited token may do besides, when its scopes give it. */
const unlimited: ReadonlySet<string> = new Set(["public", "self", "system:read"]);

type Within = (queue: string, type: string | undefined) => boolean;

/**
 * Holds API tokens to their queues and types. What names neither a queue, a type nor a job is refused to a limited token.
 * @returns a check of one request message; it throws permission_denied
 */
export function createScopeCheck(transport: RpcTransport, refusals: Refusals) {
  const jobs = createClient(JobService, transport);

  async function find(id: string): Promise<Job | undefined> {
    try {
      return (await jobs.getJob({ id }, { timeoutMs: lookUpTimeoutMs })).job;
    } catch (error) {
      if (error instanceof ConnectError && error.code === Code.NotFound) return undefined;
      throw error;
    }
  }

  async function checkJob(id: string, within: Within): Promise<void> {
    // Not found is said here: the job may come before the method looks, and nobody would have checked it.
    const job = await find(id);
    // As if there were no such job: whether there is one is not the token's business.
    if (job === undefined || !within(job.queue, job.type)) {
      refusals.count("scope");
      throw new ConnectError(`no job ${id}`, Code.NotFound);
    }
  }

  /** Under the id of a job of others, one of this token's would write into its row. */
  async function checkNewIds(ids: readonly string[], within: Within): Promise<void> {
    for (let from = 0; from < ids.length; from += lookUpsAtOnce) {
      const found = await Promise.all(ids.slice(from, from + lookUpsAtOnce).map(find));
      const taken = found.find((job) => job !== undefined && !within(job.queue, job.type));
      if (taken === undefined) continue;
      refusals.count("scope");
      throw new ConnectError(`the id ${taken.id} is taken`, Code.AlreadyExists);
    }
  }

  return (call: CallContext, request: Message, access: MethodAccess): void | Promise<void> => {
    const { identity, method } = call;
    if (identity.queues.length === 0 && identity.types.length === 0) return;
    if (unlimited.has(access.permission)) return;
    const within = limitOf(identity);
    switch (method) {
      case JobService.method.getJob:
      case JobService.method.cancelJob:
      case JobService.method.retryJob:
      case JobService.method.watchJob:
        return checkJob((request as GetJobRequest).id, within);
      case PluginService.method.getRecording:
        return checkJob((request as GetRecordingRequest).jobId, within);
      default:
        if (!namesAllowed(call, request, within)) {
          throw refusals.denied("scope", "this token is limited to other queues or types");
        }
        return checkNewIds(newIds(call, request), within);
    }
  };
}

/** Ids that the caller chose for jobs. */
function newIds({ method }: CallContext, request: Message): string[] {
  const { submitJob, streamJobs, submitJobs } = JobService.method;
  const ids =
    method === submitJobs
      ? (request as SubmitJobsRequest).jobs.map(({ id }) => id)
      : method === submitJob || method === streamJobs
        ? [(request as SubmitJobRequest).id]
        : [];
  return ids.filter((id) => id !== "");
}

function limitOf({ queues, types }: Identity): Within {
  return (queue, type) =>
    (queues.length === 0 || queues.includes(queue)) &&
    (types.length === 0 || (type !== undefined && types.includes(type)));
}

function namesAllowed({ method }: CallContext, request: Message, within: Within): boolean {
  const ofJob = ({ queue, type }: SubmitJobRequest): boolean => within(queue === "" ? defaultQueue : queue, type);
  switch (method) {
    case JobService.method.submitJob:
    case JobService.method.streamJobs:
      return ofJob(request as SubmitJobRequest);
    case JobService.method.submitJobs:
      return (request as SubmitJobsRequest).jobs.every(ofJob);
    case JobService.method.listJobs:
    case JobService.method.watchJobs: {
      const { queue, type } = request as ListJobsRequest;
      return within(queue, type);
    }
    case JobService.method.getQueueStats:
    case JobService.method.pauseQueue:
    case JobService.method.resumeQueue:
      // A queue holds jobs of any type.
      return within((request as ListJobsRequest).queue, undefined);
    default:
      return false;
  }
}
