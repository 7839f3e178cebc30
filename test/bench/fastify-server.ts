/** A bare Fastify route that answers the same as the bare Node server. */
import { fastify } from "fastify";
import { serveBench } from "./child.ts";

await serveBench<{ port: number }>(async ({ port }) => {
  const answer = { name: "millrace", version: "0.1.0", node: "bench", startedAt: new Date(0).toISOString() };
  const server = fastify();
  server.get("/", async () => answer);
  server.post("/", async () => answer);
  await server.listen({ port, host: "127.0.0.1" });
  return { work: async () => ({}), stop: () => server.close() };
});
