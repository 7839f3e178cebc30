import type { IncomingMessage, ServerResponse } from "node:http";
import type { Health } from "./health.ts";
import type { Metrics } from "./create-metrics.ts";

export interface OpsContext {
  readonly health: Health;
  readonly metrics: Metrics;
}

/** Answers `/health/live`, `/health/ready` and `/metrics`; true when the request was one of them. */
export type OpsHandler = (request: IncomingMessage, response: ServerResponse) => boolean;

/** Makes the handler that a gateway puts before its own routes. */
export function createOpsHandler({ health, metrics }: OpsContext): OpsHandler {
  return (request, response) => {
    const url = request.url ?? "";
    const query = url.indexOf("?");
    const answer = answers[query < 0 ? url : url.slice(0, query)];
    if (answer === undefined) return false;
    if (request.method !== "GET" && request.method !== "HEAD") {
      send(response, 405, "application/json", JSON.stringify({ status: "method not allowed" }), { allow: "GET, HEAD" });
      return true;
    }
    answer({ health, metrics }).then(
      ({ status, type, body }) => send(response, status, type, body),
      // Nobody else hears of this error: the prober must see it.
      (error: unknown) => send(response, 500, "text/plain", error instanceof Error ? error.message : String(error)),
    );
    return true;
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const answers: Partial<Record<string, (context: OpsContext) => Promise<Answer>>> = {
  "/health/live": async ({ health }) => {
    const reason = health.broken;
    return reason === undefined ? json(200, { status: "live" }) : json(503, { status: "broken", reason });
  },
  "/health/ready": async ({ health }) => {
    const { ready, missing, degraded } = await health.readiness();
    const body = { missing, ...(degraded.length === 0 ? {} : { degraded }) };
    return ready ? json(200, { status: "ready", ...body }) : json(503, { status: "not ready", ...body });
  },
  "/metrics": async ({ metrics }) => {
    const { contentType, text } = await metrics.expose();
    return { status: 200, type: contentType, body: text };
  },
};

function json(status: number, body: object): Answer {
  return { status, type: "application/json", body: JSON.stringify(body) };
}

function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Record<string, string> = {},
): void {
  if (response.destroyed) return;
  response.writeHead(status, { "content-type": type, "cache-control": "no-store", ...headers });
  response.end(response.req.method === "HEAD" ? undefined : body);
}
