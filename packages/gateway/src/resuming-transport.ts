import { setTimeout as delay } from "node:timers/promises";
import {
  clone,
  create,
  isMessage,
  ScalarType,
  type DescField,
  type DescMethod,
  type Message,
} from "@bufbuild/protobuf";
import {
  backoffDelayMs,
  bookmarksHeader,
  isTerminal,
  JobService,
  WatchJobResponseSchema,
  type BackoffPolicy,
} from "@millrace/protocol";
import { Code, ConnectError, type RpcTransport } from "@millrace/rpc";
import type { Metrics } from "@millrace/service-kit";

export interface ResumeLimits {
  /** A watch that cannot be opened again for so long ends, ms; whoever called knows where to go on. */
  readonly giveUpMs: number;
  /** A watch that was open for so long without a word has succeeded, ms. */
  readonly steadyMs: number;
}

export const defaultResume: ResumeLimits = { giveUpMs: 60_000, steadyMs: 5_000 };

const retry: BackoffPolicy = { kind: "exponential", baseMs: 50, maxMs: 2_000, jitter: 0.3 };
/** These begin with how things stand: they may begin anew without a gap where there is no place to go on. */
const beginWithState: ReadonlySet<DescMethod> = new Set([JobService.method.watchJob]);

/**
 * Opens watches again, where they have ended: a broker, a connection or a server that fails is no news for who watches. It holds for
 * streams whose messages have a `position` and whose request takes a `resume_after`, so that nothing is missed and nothing
 * comes twice; others end, and their readers begin anew.
 */
export function createResumingTransport(
  transport: RpcTransport,
  metrics: Pick<Metrics, "upstreamRetries">,
  limits: ResumeLimits = defaultResume,
): RpcTransport {
  return {
    unary: (...call) => transport.unary(...call),
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      if (!isResumable(method)) return transport.stream(method, signal, timeoutMs, header, input, contextValues);
      const deadline = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
      const headers = new Headers(header);
      headers.set(bookmarksHeader, "1");
      const request = create(method.input, await first(input));
      const open = (resumeAfter: string) => {
        const left = deadline === undefined ? undefined : Math.max(1, deadline - performance.now());
        const asked = Object.assign(clone(method.input, request), { resumeAfter });
        return transport.stream(method, signal, left, headers, one(asked), contextValues);
      };
      const opened = await open(text(request, "resumeAfter"));
      const follow = async function* () {
        let messages = opened.message as AsyncIterable<Message>;
        let position = text(request, "resumeAfter");
        let openedAt = performance.now();
        let failingSince: number | undefined;
        let over = false;
        for (let failures = 0; ;) {
          try {
            for await (const message of messages) {
              const at = text(message, "position");
              if (at !== "") position = at;
              failures = 0;
              failingSince = undefined;
              over = isEnd(message);
              if (!isBookmark(method, message)) yield message;
            }
            return;
          } catch (reason) {
            // Only the word that there is no more is lost; after the end nothing would come.
            if (over && isAway(reason)) return;
            const now = performance.now();
            if (now - openedAt >= limits.steadyMs) failingSince = undefined;
            failingSince ??= now;
            const known = position !== "" || beginWithState.has(method);
            if (!isAway(reason) || signal?.aborted === true || !known || now - failingSince >= limits.giveUpMs) {
              // Its place is no longer kept: how things stand is told anew.
              if (isLost(reason) && failures > 0 && position !== "" && beginWithState.has(method)) position = "";
              else throw withPosition(reason, position);
            }
          }
          failures += 1;
          metrics.upstreamRetries.labels({ service: method.parent.typeName }).inc();
          await delay(backoffDelayMs(retry, failures, Math.random()), undefined, { ...(signal && { signal }) }).catch(
            () => {
              throw signal?.reason;
            },
          );
          openedAt = performance.now();
          messages = opening(() => open(position) as Promise<{ readonly message: AsyncIterable<Message> }>);
        }
      };
      return { ...opened, message: follow() as typeof opened.message };
    },
  };
}

function isResumable(method: DescMethod): boolean {
  return (
    method.methodKind === "server_streaming" &&
    isText(method.output.field["position"]) &&
    isText(method.input.field["resumeAfter"])
  );
}

function isText(field: DescField | undefined): boolean {
  return field?.fieldKind === "scalar" && field.scalar === ScalarType.STRING;
}

function text(message: unknown, name: string): string {
  const value = (message as Readonly<Record<string, unknown>>)[name];
  return typeof value === "string" ? value : "";
}

/** It says where the watch stands, and nothing else. */
function isBookmark(method: DescMethod, message: Message): boolean {
  const values = message as unknown as Readonly<Record<string, unknown>>;
  return method.output.members.every((member) => {
    if (member.kind === "oneof") return (values[member.localName] as { case?: string } | undefined)?.case === undefined;
    return member.localName === "position" || values[member.localName] === undefined;
  });
}

/** Whether a watch of one job has told of the job's end. */
function isEnd(message: Message): boolean {
  if (!isMessage(message, WatchJobResponseSchema)) return false;
  const state = message.update.value?.state;
  return state !== undefined && isTerminal(state);
}

/** A stream that fails to open fails as one does that has been. */
async function* opening(open: () => Promise<{ readonly message: AsyncIterable<Message> }>): AsyncIterable<Message> {
  yield* (await open()).message;
}

function isAway(reason: unknown): boolean {
  return reason instanceof ConnectError && reason.code === Code.Unavailable;
}

function isLost(reason: unknown): boolean {
  return reason instanceof ConnectError && reason.code === Code.FailedPrecondition;
}

/** Whoever hears of the end learns where to go on. */
function withPosition(reason: unknown, position: string): unknown {
  if (position === "" || !isAway(reason) || !(reason instanceof ConnectError)) return reason;
  const words = `${reason.rawMessage}; resume after ${position}`;
  return new ConnectError(words, reason.code, { "retry-after": "1" }, undefined, reason);
}

async function first<T>(input: AsyncIterable<T>): Promise<T> {
  for await (const message of input) return message;
  throw new ConnectError("the request is missing", Code.InvalidArgument);
}

async function* one<T>(message: T): AsyncIterable<T> {
  yield message;
}
