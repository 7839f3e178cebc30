import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** What a puppet answers at one path, until it is told something else. */
export interface PuppetAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** So many times the body. */
  readonly times?: number;
}

/** An HTTP server that says at each path what it was told to, and counts who came: whoever others are made to call. */
export interface PuppetServer extends AsyncDisposable {
  readonly url: string;
}

const controlPath = "/.puppet";

export async function startPuppetServer(): Promise<PuppetServer> {
  const answers = new Map<string, PuppetAnswer>();
  const visits: string[] = [];
  const server = createServer((request, response) => {
    const [path = "/"] = (request.url ?? "/").split("?");
    if (path === controlPath) {
      if (request.method === "GET") {
        response.end(JSON.stringify(visits));
        return;
      }
      let text = "";
      request.on("data", (chunk: Buffer) => (text += chunk.toString()));
      request.on("end", () => {
        for (const [at, answer] of Object.entries(JSON.parse(text) as Record<string, PuppetAnswer>))
          answers.set(at, answer);
        response.end();
      });
      return;
    }
    visits.push(`${request.method} ${request.url}`);
    const { status = 200, headers = {}, body = "", times = 1 } = answers.get(path) ?? { status: 404 };
    response.writeHead(status, headers);
    response.end(body.repeat(times));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Tells the puppet at `url` what to say at each path. */
export async function tellPuppet(url: string, answers: Readonly<Record<string, PuppetAnswer>>): Promise<void> {
  await fetch(url + controlPath, { method: "PUT", body: JSON.stringify(answers) });
}

/** Verb and target of all requests so far. */
export async function visitsOf(url: string): Promise<string[]> {
  return (await (await fetch(url + controlPath)).json()) as string[];
}
