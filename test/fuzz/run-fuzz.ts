import { getOption, type DescMethod } from "@bufbuild/protobuf";
import { accessRule, identityServices, services } from "@millrace/protocol";
import { Dice } from "./dice.ts";
import { RequestSource, type Draw } from "./draw-request.ts";
import { knownPassword, type Caller, type FuzzTarget, type Memory } from "./fuzz-target.ts";
import { judgeAnswer, type Verdict } from "./judge-answer.ts";
import { KnownValues } from "./known-values.ts";
import { Sender } from "./send-request.ts";
import { specialValues } from "./special-values.ts";
import { describeRequest, type Door, type WireRequest } from "./wire-request.ts";

export interface FuzzOptions {
  readonly seed: number;
  readonly requests: number;
  /** Requests between two looks at memory, health and the log. */
  readonly window: number;
  /** Of the form Service/Method, or a part of it; all when left out. */
  readonly method?: string | undefined;
  readonly door?: Door | undefined;
  /** Ends the run early, with the report so far. */
  readonly signal?: AbortSignal;
  /** Told of each window. */
  readonly progress?: (report: FuzzReport) => void;
}

export interface FuzzReport {
  sent: number;
  /** By door and code. */
  readonly answers: Map<Door, Map<string, number>>;
  /** By method: answers, and how many of them were `ok`. */
  readonly methods: Map<string, { sent: number; ok: number }>;
  /** What should not have been, with the request that it was about. */
  readonly failures: string[];
  /** Before the first request and after each window. */
  readonly memory: Memory[];
  /** The slowest answer of `/health/ready` between windows, ms. */
  healthMs: number;
  /** Spent on requests, without the looks in between. */
  elapsedMs: number;
}

const concurrency = 16;
const maxFailures = 20;
/** Whoever waits for less than this is waited for; the others go away first. */
const shortWaitMs = 50;
const impatienceMs = 150;
/** On a machine with more to do than this; an answer that takes longer is none. */
const patienceMs = 60_000;
const maxHealthMs = 2_000;
/** What a refusal may say before a rule is looked at. */
const earlierRefusals = new Set(["invalid_argument", "unauthenticated", "permission_denied", "resource_exhausted"]);

/** Every method that a door offers while identity is on. */
export function offeredMethods(): DescMethod[] {
  return [...services, ...identityServices].flatMap((service) => service.methods);
}

/** Sends random requests to the system and looks at every answer. */
export async function runFuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzReport> {
  const methods = offeredMethods().filter((method) => nameOf(method).includes(options.method ?? ""));
  if (methods.length === 0) throw new RangeError(`no method is called ${options.method}`);
  const known = firstValues(target.secrets);
  const source = new RequestSource(methods, known, specialValues(), options.door && [options.door]);
  await using sender = new Sender(target.httpUrl, target.grpcAddress);
  const report: FuzzReport = {
    sent: 0,
    answers: new Map(),
    methods: new Map(methods.map((method) => [nameOf(method), { sent: 0, ok: 0 }])),
    failures: [],
    memory: [await target.memory()],
    healthMs: 0,
    elapsedMs: 0,
  };
  let complaints = target.complaints.length;

  const fail = (index: number, problem: string, request?: WireRequest): void => {
    const about = request === undefined ? "" : `\n  ${nameOf(request.method)} ${describeRequest(request)}`;
    report.failures.push(`seed ${options.seed}, request ${index}: ${problem}${about}`);
  };

  async function one(index: number): Promise<void> {
    const dice = new Dice(options.seed + index * 7919);
    const draw = source.draw(dice.bits());
    const caller = target.caller(dice);
    const request = dressed(draw.request, caller, dice);
    const streams = request.method.methodKind === "server_streaming";
    const abandoned = streams || draw.waitMs > shortWaitMs;
    let verdict: Verdict;
    try {
      const answer = await sender.send(request, abandoned ? impatienceMs : patienceMs);
      if (answer === undefined) {
        verdict = abandoned ? { code: "abandoned" } : { code: "none", problem: `no answer in ${patienceMs} ms` };
      } else verdict = judgeAnswer(request, answer);
    } catch (reason) {
      verdict = { code: "broken", problem: `the connection broke: ${String(reason)}` };
    }
    count(report, request, verdict.code);
    const problem = verdict.problem ?? misjudged(draw, caller, verdict);
    if (problem !== undefined) fail(index, problem, request);
    if (verdict.json !== undefined) known.learn(request.method.parent.name, verdict.json);
    try {
      if (verdict.code === "unauthenticated" && isKnown(caller)) await target.replace(caller);
      if (verdict.code === "ok" && nameOf(request.method) === "SettingsService/UpdateSetting") await target.restore();
    } catch (reason) {
      fail(index, `what the request did cannot be put right: ${String(reason)}`, request);
    }
  }

  const goesOn = (): boolean =>
    report.failures.length < maxFailures && !target.ended && options.signal?.aborted !== true;

  while (report.sent < options.requests && goesOn()) {
    const until = Math.min(report.sent + options.window, options.requests);
    const startedAt = performance.now();
    let next = report.sent;
    const lane = async (): Promise<void> => {
      while (next < until && goesOn()) await one(next++);
    };
    await Promise.all(Array.from({ length: concurrency }, lane));
    report.sent = next;
    report.elapsedMs += performance.now() - startedAt;
    try {
      await target.restore();
      report.memory.push(await target.memory());
      const healthMs = await target.health();
      report.healthMs = Math.max(report.healthMs, healthMs);
      if (healthMs > maxHealthMs) fail(next, `health took ${healthMs.toFixed(0)} ms`);
    } catch (reason) {
      fail(next, `the system does not answer: ${String(reason)}`);
      break;
    }
    for (const line of target.complaints.slice(complaints)) fail(next, `the log says: ${line.slice(0, 2_000)}`);
    complaints = target.complaints.length;
    options.progress?.(report);
  }
  for (const line of target.complaints.slice(complaints)) fail(report.sent, `the log says: ${line.slice(0, 2_000)}`);
  if (target.ended) fail(report.sent, "the process ended");
  return report;
}

export function nameOf(method: DescMethod): string {
  return `${method.parent.name}/${method.name}`;
}

function isKnown({ kind }: Caller): boolean {
  return kind !== "nobody" && kind !== "garbage";
}

/** The request as somebody sends it from somewhere. */
function dressed(request: WireRequest, caller: Caller, dice: Dice): WireRequest {
  const address = `10.${dice.below(256)}.${dice.below(256)}.${dice.below(256)}`;
  const odd = dice.percent(3) ? { "x-request-id": dice.pick(["", "a b", "x".repeat(500), "%00", "{}"]) } : {};
  return { ...request, headers: { ...request.headers, ...caller.headers, "x-forwarded-for": address, ...odd } };
}

/** Whether a well-formed request was taken for what it is not. */
function misjudged({ request, broken }: Draw, caller: Caller, { code }: Verdict): string | undefined {
  if (broken === undefined || code === "abandoned" || code === "resource_exhausted") return undefined;
  // Nothing says which of a stream's or a batch's messages a refusal would be about.
  const single = request.method.methodKind !== "client_streaming" && request.method.name !== "SubmitJobs";
  // An empty variable makes another path.
  if (request.door === "rest" && (code === "not_found" || code === "unimplemented")) return undefined;
  const asks = getOption(request.method, accessRule).permission !== "public";
  if (asks && !isKnown(caller) && code !== "unauthenticated") {
    // REST reads a message before it asks who sends it.
    if (request.door !== "rest" || code !== "invalid_argument") return `a stranger was answered ${code}`;
  }
  if (broken.length > 0 && single && !earlierRefusals.has(code))
    return `${broken.join("; ")}, and was answered ${code}`;
  return undefined;
}

function count(report: FuzzReport, { door, method }: WireRequest, code: string): void {
  let codes = report.answers.get(door);
  if (codes === undefined) report.answers.set(door, (codes = new Map()));
  codes.set(code, (codes.get(code) ?? 0) + 1);
  const counted = report.methods.get(nameOf(method));
  if (counted === undefined) return;
  counted.sent += 1;
  if (code === "ok") counted.ok += 1;
}

/** What a caller would know without having asked. */
function firstValues(secrets: readonly string[]): KnownValues {
  const known = new KnownValues(secrets);
  const first: Record<string, readonly string[]> = {
    "JobService.queue": ["default", "demo"],
    "JobService.type": ["audit", "redact", "flights", "unheard_of"],
    "JobService.tag": ["fuzz"],
    "JobService.kinds": ["submitted", "succeeded"],
    "PluginService.name": ["audit", "fuzz"],
    "PluginService.export": ["noop", "count", "config", "trap"],
    "PluginService.version": ["1.0.0", "1.0.1"],
    "PluginService.grants": ["all", "http", "kv", "secrets", "events", "jobs"],
    "PluginService.cron": ["0 0 1 1 *", "*/5 * * * *"],
    "PluginService.time_zone": ["Europe/Berlin", "Nowhere/Else"],
    "PluginService.pattern": ["job.*", "user.>"],
    "TokenService.scopes": ["read", "write", "admin", "jobs:submit", "jobs:read"],
    "UserService.order_by": ["email", "-created_at", "last_login_at"],
    "UserService.email": ["ada@fuzz.example", "Ada@Fuzz.example"],
    "AuthService.password": [knownPassword],
    "SettingsService.name": ["logLevel", "a-flag"],
    "AuditService.action": ["JobService/", "JobService/CancelJob"],
    "AuditService.result": ["ok", "refused", "not_found"],
    "EventService.name": ["app.started", "user.login"],
  };
  for (const [kind, values] of Object.entries(first)) for (const value of values) known.add(kind, value);
  return known;
}
