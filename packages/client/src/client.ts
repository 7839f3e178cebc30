import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { create } from "@bufbuild/protobuf";
import {
  createClient as createServiceClient,
  type Client as ServiceClient,
  type Interceptor,
} from "@connectrpc/connect";
import { createConnectTransport, Http2SessionManager } from "@connectrpc/connect-node";
import {
  AuditService,
  AuthService,
  EventService,
  isTerminal,
  JobResultSchema,
  JobService,
  JobState,
  LogService,
  MillraceError,
  PluginService,
  SettingsService,
  SystemService,
  TokenService,
  UserService,
  type JobResult,
  type WatchJobResponse,
  type WatchJobsResponse,
  type WatchPluginLogsResponse,
} from "@millrace/protocol";
import { bearerLogin, bearerToken, type Login } from "./bearer.ts";
import { toSubmitRequest, type JobSpec } from "./job-spec.ts";
import { resumeStream, type ResumeOptions } from "./resume-stream.ts";
import { toMillraceError } from "./to-millrace-error.ts";

/** Who a client is: a token for programs (`mr_…`), or a user who is signed in at the first call. */
export type Credentials = { readonly token: string } | Login;

export interface ClientOptions {
  /** `http://127.0.0.1:8080` */
  readonly baseUrl: string;
  /** `1.1` when left out; `2` wants a server that speaks HTTP/2 at this address. */
  readonly httpVersion?: "1.1" | "2";
  /** Bound on a unary call; 30 s when left out. What waits for a job has its own. */
  readonly timeoutMs?: number;
  /** Nobody when left out. */
  readonly credentials?: Credentials;
  /** Sent with every call. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly interceptors?: readonly Interceptor[];
}

/** An accepted job. */
export interface Accepted {
  readonly id: string;
  /** This id had been accepted before. */
  readonly duplicate: boolean;
}

export interface WaitOptions {
  /** `deadline_exceeded` after it; 60 s when left out. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface WatchFilter {
  readonly queue?: string;
  readonly type?: string;
  /** Past-tense words: `succeeded`, `dead`, …; all when left out. */
  readonly kinds?: readonly string[];
  readonly correlationId?: string;
  /** Id of the user who submitted them. */
  readonly owner?: string;
}

/**
 * The services of a Millrace server, typed, and what most callers want of them.
 * The services throw Connect's errors; the methods beside them throw MillraceError.
 */
export interface Client extends AsyncDisposable {
  readonly baseUrl: string;
  readonly jobs: ServiceClient<typeof JobService>;
  readonly plugins: ServiceClient<typeof PluginService>;
  readonly events: ServiceClient<typeof EventService>;
  readonly system: ServiceClient<typeof SystemService>;
  readonly logs: ServiceClient<typeof LogService>;
  readonly audit: ServiceClient<typeof AuditService>;
  readonly settings: ServiceClient<typeof SettingsService>;
  readonly auth: ServiceClient<typeof AuthService>;
  readonly users: ServiceClient<typeof UserService>;
  readonly tokens: ServiceClient<typeof TokenService>;
  /** Resolves when the job is stored. */
  submit(job: JobSpec, options?: { signal?: AbortSignal }): Promise<Accepted>;
  /** Submits, and resolves with how the job ended, whether well or not. */
  submitAndWait(job: JobSpec, options?: WaitOptions): Promise<JobResult>;
  /** Resolves with how the job ended, whether well or not. */
  wait(id: string, options?: WaitOptions): Promise<JobResult>;
  /** The job's row, then its events, to its end; reconnects without a gap. */
  watch(id: string, options?: ResumeOptions): AsyncIterable<WatchJobResponse>;
  /** The events of all jobs that match, without end; reconnects without a gap. */
  watchAll(filter?: WatchFilter, options?: ResumeOptions): AsyncIterable<WatchJobsResponse>;
  /** What a plugin logs, without end. Reconnects; what is logged meanwhile is not seen. */
  watchPluginLogs(name: string, options?: Omit<ResumeOptions, "resumeAfter">): AsyncIterable<WatchPluginLogsResponse>;
}

/** The longest that SubmitJob itself waits. */
const maxServerWaitMs = 60_000;
/** A server's answer larger than this is refused: a page of 500 jobs, or a job with its payload, is far below. */
const readMaxBytes = 64 << 20;
/** A caller whose time is over does not wait much longer to hear why. */
const reasonWithinMs = 1000;

export function createClient(options: ClientOptions): Client {
  const baseUrl = options.baseUrl.replace(/\/+$/, "");
  const { transport, close } = createTransport(baseUrl, options);
  const jobs = createServiceClient(JobService, transport);
  const plugins = createServiceClient(PluginService, transport);

  function watch(id: string, resume?: ResumeOptions): AsyncGenerator<WatchJobResponse, void, undefined> {
    return resumeStream(
      // Without a bound of its own: a job may take a day.
      (resumeAfter, signal) => jobs.watchJob({ id, resumeAfter }, { signal, timeoutMs: 0 }),
      (message) => isTerminal(message.update.value?.state ?? JobState.UNSPECIFIED),
      baseUrl,
      resume,
    );
  }

  /** What it waits for is told where it can be learned soon: a caller who may only submit does not. */
  async function stillRunning(id: string, timeoutMs: number, cause: unknown): Promise<MillraceError> {
    const reason = await jobs.getJob({ id }, { timeoutMs: reasonWithinMs }).then(
      ({ job }) => job?.waitReason ?? "",
      () => "",
    );
    const words = `job ${id} had not ended after ${timeoutMs} ms; it goes on${reason === "" ? "" : `, waiting: ${reason}`}`;
    return new MillraceError("deadline_exceeded", words, { cause });
  }

  /** @param spentMs of the time to wait, before */
  async function wait(id: string, { timeoutMs = 60_000, signal }: WaitOptions = {}, spentMs = 0): Promise<JobResult> {
    const timeout = AbortSignal.timeout(timeoutMs - spentMs);
    const both = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    try {
      for await (const message of watch(id, { signal: both })) {
        const result = resultOf(message);
        if (result !== undefined) return result;
      }
    } catch (error) {
      if (timeout.aborted) throw await stillRunning(id, timeoutMs, error);
      throw error;
    }
    throw new MillraceError("internal", `the watch of job ${id} ended before the job`);
  }

  async function submitAndWait(job: JobSpec, { timeoutMs = 60_000, signal }: WaitOptions = {}): Promise<JobResult> {
    const started = Date.now();
    const waitMs = Math.min(timeoutMs, maxServerWaitMs);
    const request = toSubmitRequest(job);
    request.waitMs = waitMs;
    const response = await jobs
      .submitJob(request, { ...(signal === undefined ? {} : { signal }), timeoutMs: waitMs + 10_000 })
      .catch((reason: unknown) => {
        throw toMillraceError(reason, baseUrl);
      });
    if (response.result !== undefined) return response.result;
    const spentMs = Date.now() - started;
    if (spentMs >= timeoutMs) throw await stillRunning(response.id, timeoutMs, undefined);
    return wait(response.id, { timeoutMs, ...(signal === undefined ? {} : { signal }) }, spentMs);
  }

  return {
    baseUrl,
    jobs,
    plugins,
    events: createServiceClient(EventService, transport),
    system: createServiceClient(SystemService, transport),
    logs: createServiceClient(LogService, transport),
    audit: createServiceClient(AuditService, transport),
    settings: createServiceClient(SettingsService, transport),
    auth: createServiceClient(AuthService, transport),
    users: createServiceClient(UserService, transport),
    tokens: createServiceClient(TokenService, transport),
    async submit(job, call = {}) {
      try {
        const { id, duplicate } = await jobs.submitJob(toSubmitRequest(job), call);
        return { id, duplicate };
      } catch (reason) {
        throw toMillraceError(reason, baseUrl);
      }
    },
    submitAndWait,
    wait: (id, waitOptions) => wait(id, waitOptions),
    watch,
    watchAll({ queue = "", type = "", kinds = [], correlationId = "", owner = "" } = {}, resume) {
      return resumeStream(
        (resumeAfter, signal) =>
          jobs.watchJobs(
            { queue, type, kinds: [...kinds], correlationId, owner, resumeAfter },
            { signal, timeoutMs: 0 },
          ),
        () => false,
        baseUrl,
        resume,
      );
    },
    async *watchPluginLogs(name, resume) {
      const open = (_: string, signal: AbortSignal) =>
        unresumable(plugins.watchPluginLogs({ name }, { signal, timeoutMs: 0 }));
      for await (const { message } of resumeStream(open, () => false, baseUrl, resume)) yield message;
    },
    [Symbol.asyncDispose]: close,
  };
}

/** The messages of a stream that only begins at the present. */
async function* unresumable<T>(stream: AsyncIterable<T>): AsyncGenerator<{ position: string; message: T }> {
  for await (const message of stream) yield { position: "", message };
}

function resultOf({ update }: WatchJobResponse): JobResult | undefined {
  if (update.value === undefined || !isTerminal(update.value.state)) return undefined;
  const { state, attempt, error, result } = update.value;
  const done = create(JobResultSchema, { state, attempt });
  if (error !== undefined) done.error = error;
  if (result !== undefined) done.output = result;
  if (update.case === "job") {
    done.id = update.value.id;
    done.runUs = update.value.runUs;
  } else {
    done.id = update.value.jobId;
  }
  return done;
}

function createTransport(
  baseUrl: string,
  { timeoutMs, httpVersion, headers, credentials, interceptors }: ClientOptions,
) {
  const shared = { baseUrl, readMaxBytes, defaultTimeoutMs: timeoutMs ?? 30_000 };
  const around = [withHeaders(headers ?? {}), ...(interceptors ?? [])];
  const open = connectionTo(baseUrl, httpVersion);
  const transportWith = (more: readonly Interceptor[]) =>
    createConnectTransport({ ...shared, ...open.options, interceptors: [...more, ...around] });
  const who = () => {
    if (credentials === undefined) return [];
    return ["token" in credentials ? bearerToken(credentials.token) : bearerLogin(credentials, transportWith([]))];
  };
  return { transport: transportWith(who()), close: open.close };
}

function connectionTo(baseUrl: string, httpVersion: ClientOptions["httpVersion"]) {
  if (httpVersion === "2") {
    const sessionManager = new Http2SessionManager(baseUrl);
    return { options: { httpVersion: "2" as const, sessionManager }, close: async () => sessionManager.abort() };
  }
  const agent = baseUrl.startsWith("https:") ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  return { options: { httpVersion: "1.1" as const, nodeOptions: { agent } }, close: async () => agent.destroy() };
}

function withHeaders(headers: Readonly<Record<string, string>>): Interceptor {
  const entries = Object.entries(headers);
  return (next) => (request) => {
    for (const [name, value] of entries) request.header.set(name, value);
    return next(request);
  };
}
