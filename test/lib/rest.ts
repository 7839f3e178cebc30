import { until } from "./until.ts";

/** A job in REST's JSON, as far as the tests look at it. */
export interface JobJson {
  id: string;
  queue: string;
  type: string;
  priority: string;
  state: string;
  run: number;
  attempt: number;
  maxAttempts: number;
  payload?: { json?: unknown; text?: string; raw?: string };
  result?: { json?: unknown; text?: string; raw?: string };
  error?: { code: string; message: string };
  errors?: { code: string; message: string; attempt: number }[];
  waitReason?: string;
  tags?: string[];
}

export interface ErrorJson {
  error: { code: string; message: string; details: { field: string; reason: string }[]; requestId: string };
}

export interface Answer<T> {
  status: number;
  headers: Headers;
  body: T;
}

/** Fetch opens a connection for each call at one time, and a gateway gives an address only so many. */
const mostAtOnce = 100;

/** REST by nothing but fetch. */
export class Rest {
  readonly base: string;
  readonly #token: string;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** @param token sent with every call; nobody's when empty */
  constructor(base: string, token: string) {
    this.base = base;
    this.#token = token;
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#token !== "") headers.set("authorization", `Bearer ${this.#token}`);
    while (this.#running >= mostAtOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    try {
      return await fetch(`${this.base}${path}`, { ...init, headers });
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  async call<T>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
    const response = await this.fetch(path, {
      method,
      ...(body === undefined
        ? {}
        : {
            body: typeof body === "string" ? body : JSON.stringify(body),
            headers: { "content-type": "application/json" },
          }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: (text === "" ? {} : JSON.parse(text)) as T };
  }

  async submit(
    job: object,
  ): Promise<{ id: string; result?: { state: string; output?: { json?: unknown; text?: string } } }> {
    const { status, body } = await this.call<{ id: string }>("POST", "/api/v1/jobs", job);
    if (status !== 200) throw new Error(`submit answered ${status}: ${JSON.stringify(body)}`);
    return body;
  }

  async job(id: string): Promise<JobJson | undefined> {
    const { status, body } = await this.call<{ job: JobJson }>("GET", `/api/v1/jobs/${id}`);
    return status === 200 ? body.job : undefined;
  }

  /** The job's row, once it has this state. */
  async jobIn(id: string, state: string, timeoutMs?: number): Promise<JobJson> {
    return until(
      async () => {
        const job = await this.job(id);
        return job?.state === state ? job : undefined;
      },
      `job ${id} to be ${state}`,
      timeoutMs,
    );
  }
}
