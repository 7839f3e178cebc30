import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import {
  AuditService,
  AuthService,
  EventService,
  isTerminal,
  JobEventViewSchema,
  JobSchema,
  JobService,
  JobState,
  LogService,
  newJobId,
  PluginService,
  Priority,
  SettingsService,
  stateName,
  SystemService,
  TokenService,
  UserService,
  type Job,
  type JobEventView,
  type Payload,
  type PublishEventRequest,
  type SubmitJobRequest,
} from "@millrace/protocol";
import { MemoryAccounts } from "./memory-accounts.ts";
import { MemoryPlugins } from "./memory-plugins.ts";
import { MemorySystem } from "./memory-system.ts";

/** Ends a job at once; undefined leaves it queued. */
export type MemoryHandler = (job: Job) => { result: Payload } | { error: string } | undefined;

/** The contract over HTTP with everything in memory: what the command says to a server, and what it makes of the answers. */
export class MemoryServer implements AsyncDisposable {
  readonly jobs = new Map<string, Job>();
  readonly plugins = new MemoryPlugins();
  readonly accounts = new MemoryAccounts();
  readonly operations = new MemorySystem();
  readonly published: PublishEventRequest[] = [];
  readonly paused = new Set<string>();
  readonly limits = new Map<string, { readonly maxWaitingJobs: bigint; readonly maxWaitingBytes: bigint }>();
  readonly #http: Server;
  readonly #events: JobEventView[] = [];
  readonly #handler: MemoryHandler;
  #changed = Promise.withResolvers<void>();
  readonly #watched = new Map<string, () => void>();

  private constructor(handler: MemoryHandler) {
    this.#handler = handler;
    this.#http = createServer(
      connectNodeAdapter({
        routes: (router) => {
          router.service(JobService, this.#jobService());
          router.service(PluginService, this.plugins.service);
          router.service(AuthService, this.accounts.auth);
          router.service(TokenService, this.accounts.tokenService);
          router.service(UserService, this.accounts.userService);
          router.service(AuditService, this.operations.audit);
          router.service(SettingsService, this.operations.settings);
          router.service(EventService, {
            publishEvent: (request) => {
              this.published.push(request);
              return { id: request.id || "event-1" };
            },
          });
          router.service(LogService, this.operations.logs);
          router.service(SystemService, {
            getInfo: () => ({ name: "memory", version: "0.1.0", node: "test", startedAt: timestampNow() }),
          });
        },
      }),
    );
  }

  static async start(handler: MemoryHandler = () => undefined): Promise<MemoryServer> {
    const server = new MemoryServer(handler);
    server.#http.listen(0, "127.0.0.1");
    await once(server.#http, "listening");
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** Moves a job on, and tells who watches. */
  move(id: string, state: JobState, more: Partial<Pick<JobEventView, "result" | "error">> = {}): void {
    const job = this.#find(id);
    job.state = state;
    job.updatedAt = timestampNow();
    if (isTerminal(state)) job.finishedAt = job.updatedAt;
    if (more.result !== undefined) job.result = more.result;
    if (more.error !== undefined) job.error = more.error;
    const { queue, type, priority, attempt } = job;
    const at = timestampNow();
    this.#events.push(
      create(JobEventViewSchema, {
        jobId: id,
        kind: stateName(state),
        state,
        attempt,
        at,
        queue,
        type,
        priority,
        ...more,
      }),
    );
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  /** Resolves when a watch of the job stands. */
  whenWatched(id: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#watched.set(id, resolve);
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, "close");
  }

  #find(id: string): Job {
    const job = this.jobs.get(id);
    if (job === undefined) throw new ConnectError(`no job ${id}`, Code.NotFound);
    return job;
  }

  #accept(request: SubmitJobRequest): Job {
    const job = create(JobSchema, {
      id: request.id || newJobId(),
      queue: request.queue || "default",
      type: request.type,
      priority: request.priority || Priority.NORMAL,
      run: 1,
      attempt: 1,
      maxAttempts: request.maxAttempts || 5,
      tags: request.tags,
      correlationId: request.correlationId,
      submittedAt: timestampNow(),
      ...(request.payload === undefined ? {} : { payload: request.payload }),
    });
    this.jobs.set(job.id, job);
    this.move(job.id, JobState.QUEUED);
    const end = this.#handler(job);
    if (end === undefined) return job;
    if ("result" in end) this.move(job.id, JobState.SUCCEEDED, { result: end.result });
    else
      this.move(job.id, JobState.DEAD, {
        error: {
          $typeName: "millrace.jobs.v1.JobError",
          code: "HANDLER_FAILED",
          message: end.error,
          retryable: false,
          attempt: 1,
          run: 1,
        },
      });
    return job;
  }

  async *#follow(from: number, signal: AbortSignal): AsyncGenerator<[position: string, event: JobEventView]> {
    const aborted = once(signal, "abort");
    for (let at = from; !signal.aborted;) {
      const event = this.#events[at];
      if (event === undefined) await Promise.race([this.#changed.promise, aborted]);
      else yield [String(++at), event];
    }
  }

  #jobService(): Partial<ServiceImpl<typeof JobService>> {
    const stats = (queue: string) => {
      const count = (state: JobState) =>
        BigInt([...this.jobs.values()].filter((job) => job.queue === queue && job.state === state).length);
      return {
        queue,
        paused: this.paused.has(queue),
        ...this.limits.get(queue),
        queued: count(JobState.QUEUED),
        succeeded: count(JobState.SUCCEEDED),
        dead: count(JobState.DEAD),
        waiting: [{ priority: Priority.NORMAL, count: count(JobState.QUEUED) }],
      };
    };
    return {
      submitJob: (request) => {
        if (request.type === "refused") throw new ConnectError("job x has the unique key", Code.AlreadyExists);
        const duplicate = this.jobs.has(request.id);
        const { id, state, attempt, result, error } = this.#accept(request);
        if (request.waitMs === 0 || !isTerminal(state)) return { id, duplicate };
        return {
          id,
          duplicate,
          result: { id, state, attempt, ...(result && { output: result }), ...(error && { error }) },
        };
      },
      submitJobs: ({ jobs }) => ({ outcomes: jobs.map((request) => ({ id: this.#accept(request).id })) }),
      getJob: ({ id }) => ({ job: this.#find(id) }),
      listJobs: ({ queue, states, correlationId, tag, pageSize, pageToken }) => {
        const found = [...this.jobs.values()].filter(
          (job) =>
            (queue === "" || job.queue === queue) &&
            (correlationId === "" || job.correlationId === correlationId) &&
            (tag === "" || job.tags.includes(tag)) &&
            (states.length === 0 || states.includes(job.state)),
        );
        const from = Number(pageToken);
        const next = from + pageSize;
        return { jobs: found.slice(from, next), nextPageToken: next < found.length ? String(next) : "" };
      },
      cancelJob: ({ id }) => {
        if (isTerminal(this.#find(id).state)) throw new ConnectError(`job ${id} has ended`, Code.Aborted);
        this.move(id, JobState.CANCELLED);
        return { state: JobState.CANCELLED };
      },
      retryJob: ({ id }) => {
        const job = this.#find(id);
        job.run++;
        this.move(id, JobState.QUEUED);
        return { id, attempt: 1, run: job.run, visible: true };
      },
      watchJob: async function* (this: MemoryServer, { id }: { id: string }, { signal }: { signal: AbortSignal }) {
        const from = this.#events.length;
        const job = this.#find(id);
        yield { position: String(from), update: { case: "job" as const, value: job } };
        if (isTerminal(job.state)) return;
        this.#watched.get(id)?.();
        for await (const [position, event] of this.#follow(from, signal)) {
          if (event.jobId !== id) continue;
          yield { position, update: { case: "event" as const, value: event } };
          if (isTerminal(event.state)) return;
        }
      }.bind(this),
      watchJobs: async function* (
        this: MemoryServer,
        { queue, kinds, resumeAfter }: { queue: string; kinds: string[]; resumeAfter: string },
        { signal }: { signal: AbortSignal },
      ) {
        for await (const [position, event] of this.#follow(
          resumeAfter === "" ? this.#events.length : Number(resumeAfter),
          signal,
        )) {
          if ((queue === "" || event.queue === queue) && (kinds.length === 0 || kinds.includes(event.kind)))
            yield { position, event };
        }
      }.bind(this),
      getQueueStats: ({ queue }) => ({ stats: stats(queue) }),
      listQueues: () => ({ queues: [...new Set([...this.jobs.values()].map((job) => job.queue))].map(stats) }),
      pauseQueue: ({ queue }) => {
        this.paused.add(queue);
        return {};
      },
      setQueueLimits: ({ queue, maxWaitingJobs, maxWaitingBytes }) => {
        this.limits.set(queue, { maxWaitingJobs, maxWaitingBytes });
        return {};
      },
      resumeQueue: ({ queue }) => {
        this.paused.delete(queue);
        return {};
      },
    };
  }
}
