// The npm package `grpc-web` is a browser's library: it speaks through XMLHttpRequest, given here by a few lines on fetch.
import { fromBinary, create, toBinary } from "@bufbuild/protobuf";
import { GetJobRequestSchema, GetJobResponseSchema, JobService, MillraceError } from "@millrace/protocol";
import { bindService, createDirectTransport, createPipeline, type ServiceImpl } from "@millrace/rpc";
import grpcWeb from "grpc-web";
import { expect, test } from "vitest";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { readGatewayConfig } from "./config.ts";
import { startGateway } from "./start-gateway.ts";

class FetchRequest {
  readyState = 0;
  status = 0;
  statusText = "";
  responseText = "";
  responseType = "";
  withCredentials = false;
  onreadystatechange: (() => void) | null = null;
  #verb = "GET";
  #url = "";
  readonly #headers = new Headers();
  #answer = new Headers();
  open(verb: string, url: string): void {
    this.#verb = verb;
    this.#url = url;
  }
  setRequestHeader(name: string, value: string): void {
    this.#headers.set(name, value);
  }
  getResponseHeader(name: string): string | null {
    return this.#answer.get(name);
  }
  getAllResponseHeaders(): string {
    return [...this.#answer].map(([name, value]) => `${name}: ${value}`).join("\r\n");
  }
  abort(): void {}
  send(body: BodyInit): void {
    void this.#run(body);
  }
  get response(): string {
    return this.responseText;
  }
  async #run(body: BodyInit): Promise<void> {
    const response = await fetch(this.#url, { method: this.#verb, headers: this.#headers, body });
    this.status = response.status;
    this.#answer = response.headers;
    this.readyState = 2;
    this.onreadystatechange?.();
    this.responseText = await response.text();
    this.readyState = 4;
    this.onreadystatechange?.();
  }
}

const jobs: Partial<ServiceImpl<typeof JobService>> = {
  getJob(request) {
    if (request.id === "missing") throw new MillraceError("not_found", "no job missing");
    return { job: { id: request.id } };
  },
};

test("the grpc-web package calls the gateway", async () => {
  Object.assign(globalThis, { XMLHttpRequest: FetchRequest });
  const pipeline = createPipeline({ services: [bindService(JobService, jobs as ServiceImpl<typeof JobService>)] });
  await using gateway = await startGateway(
    { ...readGatewayConfig(), httpPort: 0, grpcPort: 0 },
    {
      transport: createDirectTransport(pipeline),
      metrics: createMetrics(),
      health: new Health(),
      logger: createLogger({ name: "gateway", level: "silent" }),
    },
  );
  const path = "/millrace.jobs.v1.JobService/GetJob";
  const method = new grpcWeb.MethodDescriptor<Uint8Array, Uint8Array>(
    path,
    grpcWeb.MethodType.UNARY,
    Uint8Array as never,
    Uint8Array as never,
    (bytes: Uint8Array) => bytes as never,
    (bytes: Uint8Array) => bytes,
  );
  const client = new grpcWeb.GrpcWebClientBase({ format: "text" });
  const get = (id: string) =>
    client.unaryCall(
      gateway.httpUrl + path,
      toBinary(GetJobRequestSchema, create(GetJobRequestSchema, { id })),
      {},
      method,
    );
  expect(fromBinary(GetJobResponseSchema, await get("a")).job?.id).toBe("a");
  await expect(get("missing")).rejects.toMatchObject({ code: 5, message: "no job missing" });
});
