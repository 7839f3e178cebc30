import { Agent, get } from "node:http";
import { connect, type ClientHttp2Session } from "node:http2";
import { setTimeout as delay } from "node:timers/promises";

const perSecond = 200;
/** An answer that is not there by then is a failure. */
const timeoutMs = 5_000;
const method = "/millrace.system.v1.SystemService/GetInfo";
const emptyMessage = Buffer.alloc(5);

/** Calls at a fixed pace, whatever becomes of those before; by REST and by gRPC in turn. */
export class HealthyClient implements Disposable {
  readonly #httpUrl: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });
  readonly #session: ClientHttp2Session;

  readonly #headers: { readonly authorization: string };

  constructor({ httpUrl, grpcAddress, token }: { httpUrl: string; grpcAddress: string; token: string }) {
    this.#httpUrl = httpUrl;
    this.#headers = { authorization: `Bearer ${token}` };
    this.#session = connect(`http://${grpcAddress}`);
  }

  /** @returns the 99th percentile of the time from a call to its whole answer, ms */
  async measure(durationMs: number): Promise<number> {
    const calls: Promise<number>[] = [];
    const startMs = performance.now();
    for (let n = 0; n < (durationMs / 1000) * perSecond; n += 1) {
      const dueMs = startMs + (n * 1000) / perSecond;
      await delay(Math.max(0, dueMs - performance.now()));
      const sentMs = performance.now();
      calls.push((n % 2 === 0 ? this.#rest() : this.#grpc()).then(() => performance.now() - sentMs));
    }
    const times = (await Promise.all(calls)).toSorted((a, b) => a - b);
    return times[Math.floor(times.length * 0.99)] ?? Infinity;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
    this.#session.destroy();
  }

  #rest(): Promise<void> {
    return new Promise((resolve, reject) => {
      const options = { agent: this.#agent, headers: this.#headers, timeout: timeoutMs };
      const request = get(`${this.#httpUrl}/api/v1/system/info`, options, (response) => {
        response.resume();
        response.once("end", () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`REST ${response.statusCode}`)),
        );
      });
      request.once("timeout", () => request.destroy(new Error("no answer by REST")));
      request.once("error", reject);
    });
  }

  #grpc(): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = { ":method": "POST", ":path": method, "content-type": "application/grpc", te: "trailers" };
      const head = { ...call, ...this.#headers };
      const stream = this.#session.request(head);
      let status = "none";
      stream.setTimeout(timeoutMs, () => stream.destroy(new Error("no answer by gRPC")));
      stream.once("trailers", (lines) => (status = String(lines["grpc-status"])));
      stream.once("error", reject);
      stream.once("close", () => (status === "0" ? resolve() : reject(new Error(`gRPC status ${status}`))));
      stream.resume();
      stream.end(emptyMessage);
    });
  }
}
