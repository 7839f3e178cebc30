import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startNameServer, type NameServer } from "../name-server-fixture.ts";
import { HttpClient, httpLimits, type HttpRequest } from "./http-client.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

let server: Server;
let port: number;
let nameServer: NameServer;
/** What a name server of the test knows; of other names it says nothing. */
const names = {
  "private.test": ["127.0.0.1"],
  "half-private.test": ["93.184.216.34", "10.0.0.1"],
  "private-six.test": ["93.184.216.34", "fd00::1"],
  "nowhere.test": [],
};
const routes: Record<string, RequestListener> = {
  "/echo": (request, response) => {
    const chunks: Uint8Array[] = [];
    request.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    request.on("end", () => {
      response.setHeader("x-seen", JSON.stringify(request.headers));
      response.end(`${request.method} ${Buffer.concat(chunks).toString()}`);
    });
  },
  "/big": (_request, response) => {
    const chunk = new Uint8Array(1 << 20);
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on("drain", more);
    more();
  },
  "/headers": (_request, response) => response.setHeader("x-large", "a".repeat(64 << 10)).end(),
  "/hang": () => undefined,
  "/most": (_request, response) => response.write(new Uint8Array(httpLimits.responseBytes - 1)),
  "/other-protocol": ({ socket }) =>
    socket.write("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
};

beforeAll(async () => {
  server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://x");
    const to = url.searchParams.get("to");
    if (to !== null) response.writeHead(Number(url.searchParams.get("status") ?? 302), { location: to }).end();
    else (routes[url.pathname] ?? ((_, missing) => missing.writeHead(404).end()))(request, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  port = typeof address === "object" && address !== null ? address.port : 0;
  nameServer = await startNameServer(names);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  nameServer.close();
});

function ask(request: Partial<HttpRequest> & { path?: string }, options: { granted?: string[]; open?: string[] } = {}) {
  const client = new HttpClient(options.open ?? [`localhost:${port}`], [nameServer.address]);
  const url = request.url ?? `http://localhost:${port}${request.path ?? "/echo"}`;
  return client.request(
    { method: "GET", headers: {}, body: new Uint8Array(0), ...request, url },
    { plugin: "one", granted: options.granted ?? [`http://localhost:${port}`], signal: AbortSignal.timeout(5000) },
  );
}

test("sends and receives, and keeps the connection's headers to itself", async () => {
  const headers = { "X-Mine": "1", Host: "evil", "Transfer-Encoding": "chunked", "Content-Length": "1" };
  const response = await ask({ method: "POST", headers, body: encoder.encode("body") });
  expect(response.status).toBe(200);
  expect(decoder.decode(response.body)).toBe("POST body");
  const seen: unknown = JSON.parse(response.headers["x-seen"] ?? "");
  expect(seen).toMatchObject({ "x-mine": "1", host: `localhost:${port}`, "content-length": "4" });
});

test("what is not granted is denied, with how to grant it", async () => {
  const denied = { code: "HOST_DENIED", fatal: true };
  await expect(ask({}, { granted: [] })).rejects.toMatchObject(denied);
  await expect(ask({}, { granted: [] })).rejects.toThrow(/capabilities\.http, and grant http/);
  await expect(ask({}, { granted: ["localhost"] })).rejects.toMatchObject(denied);
  await expect(ask({ url: "file:///etc/passwd" })).rejects.toMatchObject(denied);
  await expect(ask({ url: `http://u:p@localhost:${port}/` })).rejects.toMatchObject(denied);
});

test.each([
  "http://127.0.0.1:PORT/",
  "http://2130706433:PORT/",
  "http://0x7f.1:PORT/",
  "http://[::1]:PORT/",
  "http://[::ffff:127.0.0.1]:PORT/",
  "http://169.254.169.254:PORT/",
  "http://localhost:PORT/",
  "http://localhost.:PORT/",
  "http://metadata.google.internal:PORT/",
  "http://private.test:PORT/",
  "http://half-private.test:PORT/",
  "http://private-six.test:PORT/",
])("%s is out of reach even when it is granted", async (form) => {
  const url = form.replace("PORT", String(port));
  const origin = new URL(url).origin;
  await expect(ask({ url }, { granted: [origin], open: [] })).rejects.toMatchObject({ code: "HOST_DENIED" });
});

test("every redirect is checked again", async () => {
  const to = (url: string, status = 302): string => `/?status=${status}&to=${encodeURIComponent(url)}`;
  const body = encoder.encode("again");
  expect(decoder.decode((await ask({ path: to("/echo") })).body)).toBe("GET ");
  expect(decoder.decode((await ask({ path: to("/echo", 307), method: "POST", body })).body)).toBe("POST again");
  expect(decoder.decode((await ask({ path: to("/echo", 303), method: "POST", body })).body)).toBe("GET ");
  const loopback = `http://127.0.0.1:${port}`;
  const granted = [`http://localhost:${port}`, loopback, "http://169.254.169.254"];
  for (const url of [`${loopback}/echo`, "http://169.254.169.254/latest/meta-data", "https://example.com/"]) {
    await expect(ask({ path: to(url) }, { granted })).rejects.toMatchObject({ code: "HOST_DENIED" });
  }
  let path = "/echo";
  for (let i = 0; i <= httpLimits.redirects; i++) path = to(path);
  await expect(ask({ path })).rejects.toMatchObject({ breach: { figure: 6, limit: 5, unit: "calls" } });
});

test("credentials do not follow a redirect to another origin", async () => {
  const other = `http://127.0.0.1:${port}`;
  const options = { granted: [`http://localhost:${port}`, other], open: [`localhost:${port}`, `127.0.0.1:${port}`] };
  const headers = { Authorization: "Bearer x", "X-Mine": "1" };
  const path = `/?to=${encodeURIComponent(`${other}/echo`)}`;
  const seen = JSON.parse((await ask({ path, headers }, options)).headers["x-seen"] ?? "");
  expect(seen).toMatchObject({ "x-mine": "1" });
  expect(seen).not.toHaveProperty("authorization");
});

test("answers are bounded", async () => {
  const bytes = { resource: "http", limit: httpLimits.responseBytes, unit: "bytes" };
  await expect(ask({ path: "/big" })).rejects.toMatchObject({ code: "HOST_DENIED", fatal: true, breach: bytes });
  await expect(ask({ path: "/headers" })).rejects.toMatchObject({ breach: { limit: httpLimits.responseHeaderBytes } });
});

test("a request ends with its call, and a server that is not there is the plugin's to handle", async () => {
  const client = new HttpClient([`localhost:${port}`]);
  const call = new AbortController();
  const request = { method: "GET", url: `http://localhost:${port}/hang`, headers: {}, body: new Uint8Array(0) };
  const answer = client.request(request, { plugin: "one", granted: [`http://localhost:${port}`], signal: call.signal });
  call.abort();
  await expect(answer).rejects.toMatchObject({ name: "HostFailure", fatal: false });
  const open = ["localhost:1"];
  const refused = ask({ url: "http://localhost:1/" }, { granted: ["http://localhost:1"], open });
  await expect(refused).rejects.toMatchObject({ code: "HANDLER_FAILED", fatal: false });
});

test("an answer in another protocol ends the request", async () => {
  await expect(ask({ path: "/other-protocol" })).rejects.toThrow("the server wants another protocol");
});

test("a name without an address is the plugin's to handle", async () => {
  const url = "http://nowhere.test/";
  await expect(ask({ url }, { granted: [url.slice(0, -1)] })).rejects.toMatchObject({ fatal: false });
});

test("names whose servers are silent keep nobody else from theirs", async () => {
  const call = new AbortController();
  const client = new HttpClient([], [nameServer.address]);
  const silent = Array.from({ length: 8 }, (_, i) =>
    client.request(
      { method: "GET", url: `https://n${i}.silent.test/`, headers: {}, body: new Uint8Array(0) },
      { plugin: "one", granted: ["*.silent.test"], signal: call.signal },
    ),
  );
  await nameServer.whenAsked("n7.silent.test");
  expect((await ask({})).status).toBe(200);
  using cancel = vi.spyOn(Resolver.prototype, "cancel");
  call.abort();
  for (const { status } of await Promise.allSettled(silent)) expect(status).toBe("rejected");
  // Each would keep its socket for a quarter of a minute.
  expect(cancel).toHaveBeenCalledTimes(silent.length);
});

test("what one plugin is being sent leaves room for others", async () => {
  const call = new AbortController();
  const client = new HttpClient([`localhost:${port}`]);
  const request = (plugin: string, path: string) =>
    client.request(
      { method: "GET", url: `http://localhost:${port}${path}`, headers: {}, body: new Uint8Array(0) },
      { plugin, granted: [`http://localhost:${port}`], signal: call.signal },
    );
  // One more than fit.
  const most = Array.from({ length: 17 }, () => request("one", "/most"));
  await expect(Promise.race(most)).rejects.toThrow("receives too much");
  expect((await request("two", "/echo")).status).toBe(200);
  call.abort();
  await Promise.allSettled(most);
});
