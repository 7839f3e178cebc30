/** A gateway in a process of its own, with a small control behind it. Prints where it listens; ends with its input. */
import type { ServiceImpl } from "@connectrpc/connect";
import { gatewaySettings, startGateway } from "@millrace/gateway";
import { JobService } from "@millrace/protocol";
import { bindService, createDirectTransport, createPipeline } from "@millrace/rpc";
import { createLogger, createMetrics, Health, z } from "@millrace/service-kit";

const jobs: Partial<ServiceImpl<typeof JobService>> = {
  submitJob: (request) => ({ id: request.id }),
};
const control = createPipeline({ services: [bindService(JobService, jobs as ServiceImpl<typeof JobService>)] });
const gateway = await startGateway(z.object(gatewaySettings).parse({ httpPort: 0, grpcPort: 0 }), {
  transport: createDirectTransport(control),
  metrics: createMetrics(),
  health: new Health(),
  logger: createLogger({ name: "gateway", level: "warn" }),
});
process.stdout.write(`${JSON.stringify({ httpUrl: gateway.httpUrl, grpcAddress: gateway.grpcAddress })}\n`);
process.stdin.resume().once("end", () => void gateway[Symbol.asyncDispose]());
