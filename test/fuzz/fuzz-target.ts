import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { startPostgres } from "../lib/postgres.ts";
import { root } from "../lib/process.ts";
import { Rest } from "../lib/rest.ts";
import { startStandaloneProcess } from "../lib/standalone.ts";
import type { Dice } from "./dice.ts";

export interface Memory {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
}

/** Who a request says that it is from. */
export interface Caller {
  readonly kind: "token" | "session" | "cookie" | "nobody" | "garbage";
  readonly headers: Readonly<Record<string, string>>;
}

export interface FuzzTarget extends AsyncDisposable {
  readonly httpUrl: string;
  readonly grpcAddress: string;
  /** What the run itself depends on: not to be learned, or a request would delete it. */
  readonly secrets: readonly string[];
  /** Lines of the log from `error` upwards, and whatever the runtime had to say. */
  readonly complaints: readonly string[];
  readonly ended: boolean;
  caller(dice: Dice): Caller;
  /** Somebody was not known any more: the next ones are others. */
  replace(caller: Caller): Promise<void>;
  /** Puts back what requests have set. */
  restore(): Promise<void>;
  /** After garbage was collected. */
  memory(): Promise<Memory>;
  /** How long `/health/ready` takes, in ms. */
  health(): Promise<number>;
}

const freeTokens = 3;
const firstPassword = "the first password";
/** What throwaway administrators sign in with; requests know it too. */
export const knownPassword = "a password that is known";
const garbageTokens = [
  "Bearer",
  "Bearer x",
  "Bearer mr_x",
  "Basic YTpi",
  "Bearer a.b.c",
  `Bearer mr_${"A".repeat(43)}`,
  "é",
];
const restoreTries = 30;
const maxTokens = 50;
const errorLevel = 50;

/** The whole system in a process of its own, with identity on, and administrators who may be lost. */
export async function startFuzzTarget(): Promise<FuzzTarget> {
  await using stack = new AsyncDisposableStack();
  const postgres = await startPostgres();
  if (postgres !== undefined) stack.use(postgres);
  const system = stack.use(
    await startStandaloneProcess({
      ...(postgres === undefined ? {} : { DATABASE_URL: postgres.url }),
      NODE_OPTIONS: `--expose-gc --import=${join(import.meta.dirname, "collect-garbage.ts")}`,
      MILLRACE_WATCH_PLUGINS: "false",
      // Each request comes from an address of its own, and strangers are not what is to be bounded here.
      MILLRACE_TRUSTED_PROXY_HOPS: "1",
      MILLRACE_STRANGER_RATE: "100000",
      MILLRACE_STRANGER_BURST: "1000000",
    }),
  );
  const { child } = system.process;
  if (child.stderr === null) throw new Error("the process has no stderr");
  const lines = createInterface({ input: child.stderr });
  const complaints: string[] = [];
  lines.on("line", (line) => {
    if (isComplaint(line)) complaints.push(line);
  });
  const me = await call<{ user: { id: string; email: string } }>(system.rest, "GET", "/api/v1/auth/me");
  const { tokens } = await call<{ tokens: { id: string }[] }>(system.rest, "GET", "/api/v1/tokens");
  const secrets = [me.user.id, me.user.email, ...tokens.map(({ id }) => id)];
  let callers: Caller[] = [];
  let made = 0;
  const addCallers = async (): Promise<void> => {
    made += 1;
    callers = [...callers, ...(await newAdministrator(system.httpUrl, system.rest, `admin-${made}@fuzz.example`))];
  };
  // Made without a password, which takes its time to hash: there is always somebody who may do everything.
  const addToken = async (): Promise<void> => {
    made += 1;
    const wish = { name: `fuzz-${made}`, scopes: ["admin"] };
    const { secret } = await call<{ secret: string }>(system.rest, "POST", "/api/v1/tokens", wish);
    callers = [...callers, { kind: "token", headers: { authorization: `Bearer ${secret}` } }];
  };
  for (let count = 0; count < freeTokens; count += 1) await addToken();
  await addCallers();
  let replacing: Promise<void> | undefined;
  const running = stack.move();

  return {
    httpUrl: system.httpUrl,
    grpcAddress: system.grpcAddress,
    secrets,
    complaints,
    get ended() {
      return system.process.ended;
    },
    caller(dice) {
      // All administrators may be gone for a moment.
      if (dice.percent(6) || callers.length === 0) return { kind: "nobody", headers: {} };
      if (dice.percent(5)) {
        return { kind: "garbage", headers: { authorization: encodeURI(dice.pick(garbageTokens)).replace("%20", " ") } };
      }
      return dice.pick(callers);
    },
    async replace(caller) {
      if (!callers.includes(caller)) return;
      callers = callers.filter((one) => one !== caller);
      if (caller.kind === "token") await addToken();
      // Nobody waits for the others; the run may end before they are there.
      else if (!callers.some(({ kind }) => kind !== "token")) {
        replacing ??= addCallers()
          .catch(() => undefined)
          .finally(() => (replacing = undefined));
      }
    },
    restore: () => restore(system.rest, secrets),
    async memory() {
      const told = memoryLine(lines);
      child.kill("SIGUSR2");
      return await told;
    },
    async health() {
      const startedAt = performance.now();
      const answer = await fetch(`${system.httpUrl}/health/ready`);
      await answer.text();
      if (!answer.ok) throw new Error(`/health/ready answered ${answer.status}`);
      return performance.now() - startedAt;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function isComplaint(line: string): boolean {
  if (line.startsWith("memory ")) return false;
  try {
    const { level } = JSON.parse(line) as { level?: unknown };
    return typeof level === "number" ? level >= errorLevel : level === "error" || level === "fatal";
  } catch {
    return line.trim() !== "";
  }
}

async function memoryLine(lines: Interface): Promise<Memory> {
  const signal = AbortSignal.timeout(30_000);
  while (true) {
    const [line] = (await once(lines, "line", { signal })) as [string];
    if (line.startsWith("memory ")) return JSON.parse(line.slice("memory ".length)) as Memory;
  }
}

/** One more who may do everything: by token, by session, and by cookie. */
async function newAdministrator(httpUrl: string, rest: Rest, email: string): Promise<Caller[]> {
  await call(rest, "POST", "/api/v1/users", { email, roles: ["ROLE_ADMINISTRATOR"], password: firstPassword });
  const first = await logIn(httpUrl, { email, password: firstPassword });
  await call(bearer(httpUrl, first), "POST", "/api/v1/auth/password", {
    currentPassword: firstPassword,
    newPassword: knownPassword,
  });
  const access = await logIn(httpUrl, { email, password: knownPassword });
  const { secret } = await call<{ secret: string }>(bearer(httpUrl, access), "POST", "/api/v1/tokens", {
    name: "fuzz",
    scopes: ["admin"],
  });
  const response = await new Rest(httpUrl, "").fetch("/api/v1/auth/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email, password: knownPassword, cookie: true }),
  });
  if (!response.ok) throw new Error(`signing in with a cookie answered ${response.status}`);
  const { csrfToken } = (await response.json()) as { csrfToken: string };
  const cookie = response.headers
    .getSetCookie()
    .map((line) => line.split(";")[0])
    .join("; ");
  return [
    { kind: "token", headers: { authorization: `Bearer ${secret}` } },
    { kind: "session", headers: { authorization: `Bearer ${access}` } },
    { kind: "cookie", headers: { cookie, "x-csrf-token": csrfToken } },
  ];
}

async function logIn(httpUrl: string, body: object): Promise<string> {
  const answer = await call<{ tokens: { accessToken: string } }>(
    new Rest(httpUrl, ""),
    "POST",
    "/api/v1/auth/login",
    body,
  );
  return answer.tokens.accessToken;
}

function bearer(httpUrl: string, token: string): Rest {
  return new Rest(httpUrl, token);
}

/** Settings that requests have changed could slow down or silence everything that comes after. */
async function restore(rest: Rest, keep: readonly string[]): Promise<void> {
  const { settings } = await call<{ settings: { name: string; source: string }[] }>(rest, "GET", "/api/v1/settings");
  for (const { name, source } of settings) {
    if (source === "SETTING_SOURCE_DATABASE") await call(rest, "DELETE", `/api/v1/settings/${name}`);
  }
  for (const queue of ["default", "demo"]) await call(rest, "POST", `/api/v1/queues/${queue}:resume`, {});
  // One owner has so many and no more. Whoever called with one of them is replaced.
  const { tokens } = await call<{ tokens: { id: string }[] }>(rest, "GET", "/api/v1/tokens");
  if (tokens.length <= maxTokens) return;
  for (const { id } of tokens) if (!keep.includes(id)) await call(rest, "DELETE", `/api/v1/tokens/${id}`);
}

/** Waits where a limit that a request has set says so. */
async function call<T>(rest: Rest, method: string, path: string, body?: object): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    const answer = await rest.call<T>(method, path, body);
    // Another request may have removed it already.
    if (answer.status === 200 || (method === "DELETE" && answer.status === 404)) return answer.body;
    if (answer.status !== 429 || tries === restoreTries) {
      throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    }
    const waitMs = Number(answer.headers.get("retry-after") ?? 1) * 1000;
    await new Promise((resolve) => setTimeout(resolve, Math.min(waitMs, 5_000)));
  }
}

/** Modules for UploadPlugin: one that works, and what it is made of. */
export function pluginModule(): Buffer {
  return readFileSync(join(root, "packages/plugin-host/fixtures/fixtures.wasm"));
}
