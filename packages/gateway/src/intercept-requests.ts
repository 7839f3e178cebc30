import { randomUUID } from "node:crypto";
import { Code, ConnectError, errorCodeFromName, type Exchange, type Intercept, type Interception } from "@millrace/rpc";
import type { Refusal, ReplyHeaders, RpcTransport } from "@millrace/rpc";
import type { Logger, Metrics } from "@millrace/service-kit";
import { codeOfStatus } from "./code-of-status.ts";
import type { ExtensionFeed } from "./extension-feed.ts";
import { wantsPath, type ExtensionTable, type Interceptor } from "./extension-table.ts";
import { isRewritableInRequest, isRewritableInResponse, visibleHeaders } from "./guarded-headers.ts";
import { createInterceptorRunner, type InterceptorInput, type InterceptorOutput } from "./run-interceptor.ts";

/** Until it is known what stands before requests, nobody passes: one of the interceptors may be there to refuse. */
const knownWithinMs = 2_000;
/** Probes get their answer whatever plugins say. */
const exempt = /^\/(health\/|metrics$|grpc\.health\.v1\.Health\/)/;
/** How an operator takes a plugin away: none may stand before that, or it could never be taken away. */
const takesAway =
  /^POST \/(millrace\.plugins\.v1\.PluginService\/(Disable|Delete|Rollback)Plugin|api\/v1\/plugins\/[^/]+:(disable|rollback))$|^DELETE \/api\/v1\/plugins\/[^/]+$/;
const saneRequestId = /^[\x21-\x7e]{1,128}$/;

type Request = Parameters<Intercept>[0];
type Headers = Exchange["headers"];

/** Has plugins look at requests: what a door asks before it serves. */
export function interceptRequests(
  feed: ExtensionFeed,
  transport: RpcTransport,
  logger: Logger,
  metrics: Pick<Metrics, "interceptorCalls" | "interceptorSeconds">,
): Intercept {
  const run = createInterceptorRunner(transport);

  /** @returns what it says, or undefined when it failed and the request may go on */
  async function ask(
    interceptor: Interceptor,
    input: InterceptorInput,
  ): Promise<InterceptorOutput | undefined | Refusal> {
    const { plugin, failsOpen } = interceptor;
    const { requestId, phase, path } = input;
    const ended = metrics.interceptorSeconds.startTimer({ plugin, phase });
    const count = (outcome: "passed" | "denied" | "failed_open" | "failed_closed"): void =>
      metrics.interceptorCalls.inc({ plugin, phase, outcome });
    try {
      const said = await run(interceptor, input);
      const { annotations, deny } = said;
      if (Object.keys(annotations).length > 0)
        logger.info({ requestId, plugin, path, annotations }, "request annotated");
      if (deny !== undefined) logger.info({ requestId, plugin, path, status: deny.status }, "request denied");
      count(deny === undefined ? "passed" : "denied");
      return said;
    } catch (err) {
      logger.warn({ requestId, plugin, phase, path, failsOpen, err }, "interceptor failed");
      count(failsOpen ? "failed_open" : "failed_closed");
      return failsOpen ? undefined : unavailable(`interceptor ${plugin} failed`);
    } finally {
      ended();
    }
  }

  async function before(request: Request, table: ExtensionTable, requestId: string): Promise<Headers | Refusal> {
    const { verb, path } = request;
    // The id that plugins were told is the one that the call will have.
    let headers: Headers = { ...request.headers, "x-request-id": requestId };
    for (const interceptor of table.before) {
      if (!wantsPath(interceptor, path)) continue;
      const input = { phase: "before", method: verb, path, headers: visibleHeaders(headers), requestId } as const;
      const said = await ask(interceptor, input);
      if (said === undefined) continue;
      if ("error" in said) return said;
      if (said.deny !== undefined) {
        const { status, message } = said.deny;
        return { error: new ConnectError(message, errorCodeFromName(codeOfStatus(status))), status };
      }
      headers = rewrite(headers, said, isRewritableInRequest);
    }
    return headers;
  }

  async function after(
    { verb, path }: Request,
    table: ExtensionTable,
    requestId: string,
    answer: { status: number; headers: ReplyHeaders },
  ): Promise<ReplyHeaders | Refusal> {
    const { status } = answer;
    let headers = answer.headers;
    for (const interceptor of table.after) {
      if (!wantsPath(interceptor, path)) continue;
      const input = {
        phase: "after",
        method: verb,
        path,
        headers: visibleHeaders(headers),
        requestId,
        status,
      } as const;
      const said = await ask(interceptor, input);
      if (said === undefined) continue;
      if ("error" in said) return said;
      headers = rewrite(headers, said, isRewritableInResponse);
    }
    return headers;
  }

  return (request) => {
    const { table } = feed;
    if (table !== undefined && !isWanted(table, request.path)) return undefined;
    if (exempt.test(request.path) || takesAway.test(`${request.verb} ${request.path}`)) return undefined;
    const given = request.headers["x-request-id"];
    const requestId = typeof given === "string" && saneRequestId.test(given) ? given : randomUUID();
    // Who was let in by one table is let out by the same.
    let standing = table;
    return {
      requestId,
      async before() {
        standing ??= await knownTable(feed);
        return standing === undefined
          ? unavailable("it is not known yet what plugins stand before requests")
          : before(request, standing, requestId);
      },
      async after(status, headers) {
        return standing === undefined ? headers : after(request, standing, requestId, { status, headers });
      },
    } satisfies Interception;
  };
}

function isWanted({ before, after }: ExtensionTable, path: string): boolean {
  // Nothing is installed, most of the time.
  if (before.length + after.length === 0) return false;
  return before.some((one) => wantsPath(one, path)) || after.some((one) => wantsPath(one, path));
}

async function knownTable(feed: ExtensionFeed): Promise<ExtensionTable | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, knownWithinMs);
  await Promise.race([feed.known, late]);
  clearTimeout(timer);
  return feed.table;
}

/** What may not be rewritten stays as it is. */
function rewrite<H extends Headers>(headers: H, said: InterceptorOutput, mayRewrite: (name: string) => boolean): H {
  const rewritten: Record<string, string | string[] | undefined> = { ...headers };
  for (const name of said.removeHeaders) if (mayRewrite(name.toLowerCase())) delete rewritten[name.toLowerCase()];
  for (const [name, value] of Object.entries(said.setHeaders)) {
    if (mayRewrite(name.toLowerCase())) rewritten[name.toLowerCase()] = value;
  }
  return rewritten as H;
}

function unavailable(message: string): Refusal {
  return { error: new ConnectError(message, Code.Unavailable) };
}
