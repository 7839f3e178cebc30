/** A bare Node http server that parses a JSON body, if any, and answers JSON. */
import { createServer, type ServerResponse } from "node:http";
import { serveBench } from "./child.ts";

await serveBench<{ port: number }>(async ({ port }) => {
  const answer = { name: "millrace", version: "0.1.0", node: "bench", startedAt: new Date(0).toISOString() };
  const reply = (response: ServerResponse): void => {
    const body = JSON.stringify(answer);
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
    response.end(body);
  };
  const server = createServer((request, response) => {
    // A GET has no body to wait for.
    if (request.method === "GET") return reply(response);
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (chunks.length > 0) JSON.parse(Buffer.concat(chunks).toString());
      reply(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    work: async () => ({}),
    stop: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
});
