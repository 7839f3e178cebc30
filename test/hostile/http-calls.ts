import { readSource } from "./assemble.ts";
import { calls, denied, trapped, type Ending, type HostileCall, type HostilePlugin } from "./corpus.ts";
import type { HostileServers } from "./hostile-server.ts";

const tooMuch: Ending = { code: "HOST_DENIED", resource: "http" };
const tooSlow: Ending = { code: "TIMED_OUT", resource: "time" };

const get = (url: string): string => JSON.stringify({ method: "GET", url });

/** Names that a name server gives private addresses, some or all. */
export const innerNames: Readonly<Record<string, readonly string[]>> = {
  "inner.test": ["127.0.0.1"],
  "inner-six.test": ["::1"],
  "half-inner.test": ["93.184.216.34", "127.0.0.1"],
};

/** Plugins that reach for what they may not, and servers that answer as they should not. */
export function httpPlugins(servers: HostileServers): HostilePlugin[] {
  const allowed = `http://127.0.0.1:${servers.allowedPort}`;
  const forbidden = `127.0.0.1:${servers.forbiddenPort}`;
  const { forbiddenPort } = servers;
  const redirect = (to: string): string => get(`${allowed}/redirect?to=${encodeURIComponent(to)}`);
  const inner = Object.keys(innerNames);
  const fetch = (input: string, ends: Ending): HostileCall[] => calls("fetch fetch_by_extism", ends, input);
  const bytes = (): Promise<Uint8Array> => readSource("fetch");
  const places = [allowed, `http://127.0.0.1:${servers.garbagePort}`];
  // Granted by a careless operator: the address is refused all the same.
  const careless = [
    `http://${forbidden}`,
    "http://169.254.169.254",
    `http://localhost:${forbiddenPort}`,
    `http://[::1]:${forbiddenPort}`,
    `http://[::ffff:7f00:1]:${forbiddenPort}`,
    ...inner.map((name) => `http://${name}:${forbiddenPort}`),
  ];
  return [
    {
      name: "http-inner",
      bytes,
      granted: { http: [...places, ...careless] },
      calls: [
        ...fetch(get(`${allowed}/hello`), "succeeds"),
        ...fetch(get(`http://${forbidden}/`), denied),
        ...fetch(get("http://169.254.169.254/latest/meta-data/"), denied),
        ...fetch(redirect(`http://${forbidden}/`), denied),
        ...fetch(redirect("http://169.254.169.254/latest/meta-data/"), denied),
        ...[
          redirect(`http://2130706433:${forbiddenPort}/`),
          redirect(`http://0x7f.1:${forbiddenPort}/`),
          redirect(`http://localhost:${forbiddenPort}/`),
          redirect(`http://localhost.:${forbiddenPort}/`),
          redirect(`http://[::1]:${forbiddenPort}/`),
          redirect(`http://[::ffff:127.0.0.1]:${forbiddenPort}/`),
          redirect(`//${forbidden}/`),
          redirect(`http://user:password@${forbidden}/`),
          redirect("file:///etc/passwd"),
          redirect(`${allowed}/redirect?to=${encodeURIComponent(`http://${forbidden}/`)}`),
          ...inner.map((name) => get(`http://${name}:${forbiddenPort}/`)),
          ...inner.map((name) => redirect(`http://${name}:${forbiddenPort}/`)),
        ].flatMap((input) => calls("fetch", denied, input)),
      ],
    },
    {
      name: "http-ungranted",
      bytes,
      granted: { http: [allowed] },
      calls: [
        ...fetch(get(`http://${forbidden}/`), denied),
        ...fetch(get("https://example.com/"), denied),
        ...fetch(redirect("https://example.com/"), denied),
        ...fetch(get(`https://127.0.0.1:${servers.allowedPort}/hello`), denied),
        ...fetch(get("file:///etc/passwd"), denied),
      ],
    },
    {
      name: "http-bad-server",
      bytes,
      // Not time is what ends these, however busy the machine is.
      limits: { timeoutMs: 20_000 },
      granted: { http: places },
      calls: [
        ...fetch(get(`${allowed}/redirect-for-ever`), tooMuch),
        ...fetch(get(`${allowed}/large`), tooMuch),
        ...fetch(get(`${allowed}/large-header`), tooMuch),
        // An error that the plugin may handle; this one traps.
        ...calls("fetch", trapped, get(`http://127.0.0.1:${servers.garbagePort}/`)),
        ...calls("fetch", trapped, get(`${allowed}/broken`)),
        ...calls("fetch", trapped, get("http://")),
      ],
    },
    ...["silent", "drip", "drip-header"].map((path) => ({
      name: `http-${path}`,
      bytes,
      limits: { timeoutMs: 1500 },
      granted: { http: places },
      calls: calls("fetch", tooSlow, get(`${allowed}/${path}`)),
    })),
    {
      name: "http-drip-with-time",
      bytes,
      limits: { timeoutMs: 20_000 },
      granted: { http: places },
      calls: calls("fetch", { code: "TIMED_OUT", resource: "http" }, get(`${allowed}/drip`)),
    },
    {
      name: "http-flood",
      bytes: () => readSource("asks"),
      limits: { hostCalls: 100 },
      granted: { http: places },
      calls: calls("http", { code: "HOST_DENIED", resource: "host_calls" }, get(`${allowed}/hello`)),
    },
  ];
}
