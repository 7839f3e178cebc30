import { Code, ConnectError, createClient, type RpcTransport } from "@millrace/rpc";
import { JobService } from "@millrace/protocol";

const probeTimeoutMs = 1_500;
// A valid id that nobody gets by chance; the row is looked up by its key, the cheapest question there is.
const probeId = "_health_probe_";

/** Asks whether jobs can be read behind the gateway: undefined, or what is missing. */
export async function probeControl(transport: RpcTransport): Promise<string | undefined> {
  try {
    await createClient(JobService, transport).getJob({ id: probeId }, { timeoutMs: probeTimeoutMs });
    return undefined;
  } catch (reason) {
    const error = ConnectError.from(reason);
    if (error.code === Code.DeadlineExceeded) return `no answer within ${probeTimeoutMs} ms`;
    return error.code === Code.Unavailable ? error.rawMessage : undefined;
  }
}
